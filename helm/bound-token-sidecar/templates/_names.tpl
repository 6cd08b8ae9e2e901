{{- define "bound-token-sidecar.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "bound-token-sidecar.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "bound-token-sidecar.selectorLabels" -}}
app.kubernetes.io/name: {{ include "bound-token-sidecar.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "bound-token-sidecar.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{ include "bound-token-sidecar.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* An image reference: dict with image and defaultTag. */ -}}
{{- define "bound-token-sidecar.imageReference" -}}
{{- $image := .image }}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository (default .defaultTag $image.tag) }}
{{- end }}
{{- end }}

{{- define "bound-token-sidecar.image" -}}
{{- include "bound-token-sidecar.imageReference" (dict "image" .Values.image "defaultTag" .Chart.AppVersion) }}
{{- end }}

{{- define "bound-token-sidecar.serviceAccountName" -}}
{{- if .Values.application.serviceAccount.create }}
{{- default (include "bound-token-sidecar.fullname" .) .Values.application.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.application.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "bound-token-sidecar.kubernetes" -}}
{{- printf "%s.%s" .Capabilities.KubeVersion.Major (regexFind "^[0-9]+" .Capabilities.KubeVersion.Minor) }}
{{- end }}

{{- /* "true" where the sidecar is an init container with restartPolicy Always. */ -}}
{{- define "bound-token-sidecar.isNative" -}}
{{- $native := .Values.sidecar.native }}
{{- if kindIs "invalid" $native }}
{{- $native = semverCompare ">=1.29.0-0" .Capabilities.KubeVersion.Version }}
{{- end }}
{{- if $native }}true{{ end }}
{{- end }}

{{- define "bound-token-sidecar.policiesName" -}}
{{- default (printf "%s-policies" (include "bound-token-sidecar.fullname" .)) .Values.policies.existingConfigMap }}
{{- end }}

{{- define "bound-token-sidecar.isInAPod" -}}
{{- if or .Values.application.enabled .Values.library.enabled }}true{{ end }}
{{- end }}
