{{- /* Which Pods carry a sidecar: the application's own, or all that the injector was asked for. */ -}}
{{- define "bound-token-sidecar.monitored" -}}
matchLabels:
  {{- if .Values.application.enabled }}
  {{- include "bound-token-sidecar.selectorLabels" . | nindent 2 }}
  {{- else }}
  bound-token-sidecar/injected: "true"
  {{- end }}
{{- end }}
