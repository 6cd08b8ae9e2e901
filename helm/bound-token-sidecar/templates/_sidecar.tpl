{{- /*
What another chart includes to add the sidecar to its Pod template. Give each the context of this chart:
  {{- with index .Subcharts "bound-token-sidecar" }}
  initContainers: {{- include "bound-token-sidecar.nativeContainers" . | nindent 8 }}
  {{- end }}
One of nativeContainers and plainContainers is empty, depending on the cluster: include both.
*/ -}}
{{- define "bound-token-sidecar.nativeContainers" -}}
{{- if include "bound-token-sidecar.isNative" . }}
- {{- include "bound-token-sidecar.container" . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "bound-token-sidecar.plainContainers" -}}
{{- if not (include "bound-token-sidecar.isNative" .) }}
- {{- include "bound-token-sidecar.container" . | nindent 2 }}
{{- end }}
{{- end }}

{{- /*
A probe of the API: dict with context and probe (path or grpc, and timings). HTTP probes go through the sidecar. The
kubelet's gRPC probes cannot use TLS: the sidecar's health port asks the API instead.
*/ -}}
{{- define "bound-token-sidecar.probe" -}}
httpGet:
  {{- if hasKey .probe "grpc" }}
  path: /grpcz{{ with .probe.grpc.service }}?service={{ . }}{{ end }}
  port: {{ .context.Values.sidecar.healthPort }}
  {{- else }}
  path: {{ .probe.path }}
  port: {{ .context.Values.sidecar.port }}
  scheme: HTTPS
  {{- end }}
{{- with omit .probe "path" "grpc" }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Annotations of the Pod template: new Pods for a new service file; for new policies only with policies.rolloutOnChange. */ -}}
{{- define "bound-token-sidecar.podAnnotations" -}}
checksum/service-file: {{ include "bound-token-sidecar.serviceFile" . | sha256sum }}
{{- if .Values.policies.rolloutOnChange }}
checksum/policies: {{ include "bound-token-sidecar.policyData" . | sha256sum }}
{{- end }}
{{- end }}

{{- define "bound-token-sidecar.container" -}}
{{- $sidecar := .Values.sidecar }}
name: bound-token-sidecar
image: {{ include "bound-token-sidecar.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [run, --config, /etc/sidecar/config/sidecar.yaml]
{{- with $sidecar.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  - {name: bound-token, containerPort: {{ $sidecar.port }}, protocol: TCP}
  - {name: bound-health, containerPort: {{ $sidecar.healthPort }}, protocol: TCP}
startupProbe:
  httpGet: {path: /startupz, port: {{ $sidecar.healthPort }}}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: {{ $sidecar.healthPort }}}
  periodSeconds: 10
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: {{ $sidecar.healthPort }}}
  periodSeconds: 5
  failureThreshold: 2
resources:
  {{- toYaml $sidecar.resources | nindent 2 }}
securityContext:
  {{- $group := ternary 0 $sidecar.user (empty (or $sidecar.serverCertificate.csi $sidecar.serverCertificate.volume)) }}
  {{- if kindIs "invalid" $sidecar.user }}
  {{- $group = $sidecar.user }}
  {{- end }}
  {{- if not (kindIs "invalid" $sidecar.group) }}
  {{- $group = $sidecar.group }}
  {{- end }}
  {{- include "bound-token-sidecar.securityContext" (dict "user" $sidecar.user "group" $group) | nindent 2 }}
volumeMounts:
  - {name: bound-token-service, mountPath: /etc/sidecar/config, readOnly: true}
  - {name: bound-token-policies, mountPath: /etc/sidecar/policies, readOnly: true}
  - {name: {{ default "bound-token-tls" $sidecar.serverCertificate.volume }}, mountPath: /etc/sidecar/tls, readOnly: true}
  {{- if include "bound-token-sidecar.clientCaSource" . }}
  - {name: bound-token-client-ca, mountPath: /etc/sidecar/client-ca, readOnly: true}
  {{- end }}
  {{- if include "bound-token-sidecar.proxyCaSource" . }}
  - {name: bound-token-proxy-ca, mountPath: /etc/sidecar/proxy-ca, readOnly: true}
  {{- end }}
  {{- if include "bound-token-sidecar.dpopSources" . }}
  - {name: bound-token-dpop, mountPath: /etc/sidecar/dpop, readOnly: true}
  {{- end }}
  {{- if include "bound-token-sidecar.clientsSecret" . }}
  - {name: bound-token-clients, mountPath: /etc/sidecar/clients, readOnly: true}
  {{- end }}
  - {name: bound-token-tmp, mountPath: /tmp}
  {{- if $sidecar.keepIssuerKeys }}
  - {name: bound-token-state, mountPath: /var/lib/sidecar}
  {{- end }}
  {{- with $sidecar.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- if include "bound-token-sidecar.isNative" . }}
restartPolicy: Always
{{- end }}
{{- with int $sidecar.preStopSeconds }}
lifecycle:
  preStop:
    {{- if semverCompare ">=1.30.0-0" $.Capabilities.KubeVersion.Version }}
    sleep: {seconds: {{ . }}}
    {{- else }}
    exec: {command: [/opt/sidecar/bin/python, -c, "import time; time.sleep({{ . }})"]}
    {{- end }}
{{- end }}
{{- end }}

{{- /*
The "restricted" Pod security standard, with a read-only root file system: dict with user and group. The kubelet gives a
Secret's files to group 0, so no fsGroup is needed (it would change the owner of the API's volumes). Without a user
the cluster chooses both (OpenShift: from the namespace's range).
*/ -}}
{{- define "bound-token-sidecar.securityContext" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
runAsNonRoot: true
{{- if not (kindIs "invalid" .user) }}
runAsUser: {{ .user }}
{{- end }}
{{- if not (kindIs "invalid" .group) }}
runAsGroup: {{ .group }}
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "bound-token-sidecar.volumes" -}}
{{- $fullname := include "bound-token-sidecar.fullname" . }}
- name: bound-token-service
  configMap: {name: {{ $fullname }}-service}
- name: bound-token-policies
  configMap: {name: {{ include "bound-token-sidecar.policiesName" . }}}
- name: bound-token-tmp
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- if .Values.sidecar.keepIssuerKeys }}
- name: bound-token-state
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- end }}
{{- with include "bound-token-sidecar.tlsSource" . }}
- name: bound-token-tls
  {{- . | nindent 2 }}
{{- end }}
{{- with include "bound-token-sidecar.clientCaSource" . }}
- name: bound-token-client-ca
  {{- . | nindent 2 }}
{{- end }}
{{- with include "bound-token-sidecar.proxyCaSource" . }}
- name: bound-token-proxy-ca
  {{- . | nindent 2 }}
{{- end }}
{{- with include "bound-token-sidecar.dpopSources" . }}
- name: bound-token-dpop
  projected:
    defaultMode: 0440
    sources:
      {{- . | nindent 6 }}
{{- end }}
{{- with include "bound-token-sidecar.clientsSecret" . }}
- name: bound-token-clients
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{- /* The Secret with the clients of an authorization server; empty if none. */ -}}
{{- define "bound-token-sidecar.clientsSecret" -}}
{{- $server := .Values.sidecar.authorizationServer }}
{{- if $server.settings }}
{{- $certificate := .Values.sidecar.serverCertificate }}
{{- $groupless := and (kindIs "invalid" .Values.sidecar.group) (not (kindIs "invalid" .Values.sidecar.user)) }}
{{- if and (or $certificate.csi $certificate.volume) $groupless }}
{{- fail "sidecar.group: say which group may read both the server certificate and the Secret of the clients" }}
{{- end }}
{{- $server.clients.secret }}
{{- end }}
{{- end }}

{{- /* The Secrets that replicas share for DPoP; empty if none. One group must be able to read them and the key. */ -}}
{{- define "bound-token-sidecar.dpopSources" -}}
{{- $dpop := .Values.sidecar.dpop }}
{{- if $dpop.resource }}
{{- $nonces := default (ternary (include "bound-token-sidecar.nonceKeyName" .) "" $dpop.nonceKey.create) $dpop.nonceKey.secret }}
{{- $certificate := .Values.sidecar.serverCertificate }}
{{- $groupless := and (kindIs "invalid" .Values.sidecar.group) (not (kindIs "invalid" .Values.sidecar.user)) }}
{{- if and (or $nonces $dpop.replay.secret) (or $certificate.csi $certificate.volume) $groupless }}
{{- fail "sidecar.group: say which group may read both the server certificate and the Secrets of sidecar.dpop" }}
{{- end }}
{{- with $nonces }}
- secret: {name: {{ . }}, items: [{key: nonce-key, path: nonce-key}]}
{{- end }}
{{- with $dpop.replay.secret }}
- secret: {name: {{ . }}, items: [{key: url, path: url}]}
{{- end }}
{{- end }}
{{- end }}

{{- define "bound-token-sidecar.nonceKeyName" -}}
{{ include "bound-token-sidecar.fullname" . }}-nonce-key
{{- end }}

{{- define "bound-token-sidecar.tlsSource" -}}
{{- $certificate := .Values.sidecar.serverCertificate }}
{{- $chosen := list $certificate.secret $certificate.certManager.enabled $certificate.csi $certificate.volume | compact }}
{{- if ne (len $chosen) 1 }}
{{- fail "sidecar.serverCertificate: choose exactly one of secret, certManager.enabled, csi, volume" }}
{{- end }}
{{- if $certificate.secret }}
secret: {secretName: {{ $certificate.secret }}, defaultMode: 0440}
{{- else if $certificate.certManager.enabled }}
secret: {secretName: {{ include "bound-token-sidecar.fullname" . }}-tls, defaultMode: 0440}
{{- else if $certificate.csi }}
csi:
  driver: {{ $certificate.csi.driver }}
  readOnly: true
  {{- with $certificate.csi.attributes }}
  volumeAttributes:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "bound-token-sidecar.clientCaSource" -}}
{{- $ca := .Values.sidecar.clientCa }}
{{- if gt (len (list $ca.configMap $ca.secret $ca.bundle $ca.tlsVolume | compact)) 1 }}
{{- fail "sidecar.clientCa: choose at most one of configMap, secret, bundle, tlsVolume" }}
{{- end }}
{{- if $ca.configMap }}
configMap: {name: {{ $ca.configMap }}}
{{- else if $ca.bundle }}
configMap: {name: {{ include "bound-token-sidecar.fullname" . }}-client-ca}
{{- else if $ca.secret }}
secret: {secretName: {{ $ca.secret }}, items: [{key: {{ $ca.file }}, path: {{ $ca.file }}}]}
{{- end }}
{{- end }}

{{- /* The volume with the authority of proxies that send certificates; empty if it needs no volume of its own. */ -}}
{{- define "bound-token-sidecar.proxyCaSource" -}}
{{- $ca := .Values.sidecar.proxyCa }}
{{- if gt (len (list $ca.configMap $ca.secret $ca.tlsVolume | compact)) 1 }}
{{- fail "sidecar.proxyCa: choose at most one of configMap, secret, tlsVolume" }}
{{- end }}
{{- if $ca.configMap }}
configMap: {name: {{ $ca.configMap }}}
{{- else if $ca.secret }}
secret: {secretName: {{ $ca.secret }}, items: [{key: {{ $ca.file }}, path: {{ $ca.file }}}]}
{{- end }}
{{- end }}
