{{- /* Which Pods have a sidecar: the application's own, or all Pods that ask the injector for one. */ -}}
{{- define "bound-token-sidecar.monitored" -}}
matchLabels:
  {{- if .Values.application.enabled }}
  {{- include "bound-token-sidecar.selectorLabels" . | nindent 2 }}
  {{- else }}
  bound-token-sidecar/injected: "true"
  {{- end }}
{{- end }}
