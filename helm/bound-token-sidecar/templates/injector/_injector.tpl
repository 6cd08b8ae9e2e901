{{- define "bound-token-sidecar.injectorName" -}}
{{- include "bound-token-sidecar.fullname" . }}-injector
{{- end }}

{{- define "bound-token-sidecar.injectorSelector" -}}
app.kubernetes.io/name: {{ include "bound-token-sidecar.name" . }}-injector
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "bound-token-sidecar.injectorLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{ include "bound-token-sidecar.injectorSelector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "bound-token-sidecar.injectorSecret" -}}
{{- default (printf "%s-tls" (include "bound-token-sidecar.injectorName" .)) .Values.injector.certificate.secret }}
{{- end }}

{{- /* The settings file: the image and the cluster's version, unless the values set them, and the other values. */ -}}
{{- define "bound-token-sidecar.injectorSettings" -}}
{{- $settings := dict
    "image" (include "bound-token-sidecar.image" .)
    "image_pull_policy" .Values.image.pullPolicy
    "kubernetes" (include "bound-token-sidecar.kubernetes" .) }}
{{- mergeOverwrite $settings (deepCopy .Values.injector.settings) | toYaml }}
{{- end }}
