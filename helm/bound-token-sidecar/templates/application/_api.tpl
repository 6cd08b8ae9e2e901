{{- /* The API's container: it declares no port, because nobody outside the Pod may use one. */ -}}
{{- define "bound-token-sidecar.api" -}}
{{- $app := .Values.application }}
name: api
image: {{ include "bound-token-sidecar.imageReference" (dict "image" $app.image "defaultTag" "latest") }}
imagePullPolicy: {{ $app.image.pullPolicy }}
{{- with $app.command }}
command: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $app.args }}
args: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $app.env }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $app.envFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $kind, $probe := $app.probes }}
{{- if $probe }}
{{ $kind }}Probe: {{- include "bound-token-sidecar.probe" (dict "context" $ "probe" $probe) | nindent 2 }}
{{- end }}
{{- end }}
{{- if and .Values.sidecar.preStopSeconds (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) }}
# The API is stopped first; the sidecar is stopped when the API has ended. Endpoints are withdrawn in the meantime.
lifecycle:
  preStop:
    sleep: {seconds: {{ .Values.sidecar.preStopSeconds }}}
{{- end }}
resources: {{- toYaml $app.resources | nindent 2 }}
{{- with $app.securityContext }}
securityContext: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $app.volumeMounts }}
volumeMounts: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
