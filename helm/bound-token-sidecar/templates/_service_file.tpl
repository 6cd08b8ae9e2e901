{{- /* The sidecar's service file, as YAML text. */ -}}
{{- define "bound-token-sidecar.serviceFile" -}}
{{- $sidecar := .Values.sidecar }}
{{- $certificate := $sidecar.serverCertificate }}
{{- $tls := dict
    "certificate_file" (printf "/etc/sidecar/tls/%s" $certificate.certificateFile)
    "private_key_file" (printf "/etc/sidecar/tls/%s" $certificate.privateKeyFile) }}
{{- $client := dict "trust" "any" "at_handshake" "optional" }}
{{- $ca := $sidecar.clientCa }}
{{- if $ca.tlsVolume }}
{{- $client = dict "trust" "ca" "at_handshake" "optional" "ca_file" (printf "/etc/sidecar/tls/%s" $ca.file) }}
{{- else if or $ca.configMap $ca.secret $ca.bundle }}
{{- $client = dict "trust" "ca" "at_handshake" "optional" "ca_file" (printf "/etc/sidecar/client-ca/%s" $ca.file) }}
{{- end }}
{{- $told := $sidecar.toldCertificate }}
{{- if or $told.header $told.proxies }}
{{- if not (and $told.header $told.proxies) }}
{{- fail "sidecar.toldCertificate: set both header and proxies, or neither" }}
{{- end }}
{{- $authority := printf "/etc/sidecar/%s/%s" (ternary "tls" "proxy-ca" $sidecar.proxyCa.tlsVolume) $sidecar.proxyCa.file }}
{{- $proxies := list }}
{{- range $told.proxies }}
{{- $proxy := . }}
{{- if or .spiffe_id .san_dns }}
{{- if not (or $sidecar.proxyCa.tlsVolume (include "bound-token-sidecar.proxyCaSource" $)) }}
{{- fail "sidecar.proxyCa: set configMap, secret or tlsVolume: a proxy that is known by spiffe_id or san_dns needs the authority of its certificate" }}
{{- end }}
{{- $proxy = merge (dict "ca_file" $authority) . }}
{{- end }}
{{- $proxies = append $proxies $proxy }}
{{- end }}
{{- $client = merge (dict "source" "header" "header" $told.header "proxies" $proxies) (omit $client "at_handshake") }}
{{- end }}
{{- $patterns := list "/etc/sidecar/policies/*.yaml" }}
{{- if include "bound-token-sidecar.probePaths" . | fromJsonArray }}
{{- $patterns = prepend $patterns "probes.yaml" }}
{{- end }}
{{- $grace := int $sidecar.terminationGracePeriodSeconds }}
{{- $drain := max 1 (sub (sub $grace (int $sidecar.preStopSeconds)) 2) }}
{{- $host := "*" }}
{{- if not (has "IPv6" $sidecar.families) }}
{{- $host = "0.0.0.0" }}
{{- else if not (has "IPv4" $sidecar.families) }}
{{- $host = "[::]" }}
{{- end }}
{{- $upstream := ternary "[::1]" "127.0.0.1" (eq $sidecar.upstreamHost "::1") }}
{{- $listener := dict
    "address" (printf "%s:%d" $host (int $sidecar.port))
    "tls" $tls
    "client_certificate" $client }}
{{- $protocol := include "bound-token-sidecar.upstreamProtocol" . }}
{{- with ternary (list "h2" "http/1.1") $sidecar.protocols (and (empty $sidecar.protocols) (eq $protocol "h2")) }}
{{- $listener = merge $listener (dict "protocols" .) }}
{{- end }}
{{- $api := dict "url" (printf "http://%s:%d" $upstream (int $sidecar.upstreamPort)) }}
{{- with $protocol }}
{{- $api = merge $api (dict "protocol" .) }}
{{- end }}
{{- $health := dict "address" (printf "%s:%d" $host (int $sidecar.healthPort)) }}
{{- with include "bound-token-sidecar.grpcServices" . | fromJsonArray }}
{{- if ne $protocol "h2" }}
{{- fail "sidecar.upstreamProtocol: set it to h2: a gRPC probe needs an API that speaks it" }}
{{- end }}
{{- $health = merge $health (dict "grpc_services" .) }}
{{- end }}
{{- $file := dict
    "listeners" (list $listener)
    "upstream" $api
    "policy_files" $patterns
    "health" $health
    "admin" (dict "address" (printf "127.0.0.1:%d" (int $sidecar.adminPort)))
    "timeouts" (dict "drain" (printf "%ds" $drain)) }}
{{- if $sidecar.refuseWhenBypassable }}
{{- $file = merge $file (dict "bypass_check" (dict "refuse_when_bypassable" true)) }}
{{- end }}
{{- if $sidecar.keepIssuerKeys }}
{{- /* Every account may write into the volume, so the sidecar makes a folder in it, mode 0700. */}}
{{- $file = merge $file (dict "state_directory" "/var/lib/sidecar/keys") }}
{{- end }}
{{- with $sidecar.dpop }}
{{- if .resource }}
{{- $file = merge $file (dict "protected_resource" (dict "resource" .resource "origins" (default (list .resource) .origins))) }}
{{- $shared := dict }}
{{- if or .nonceKey.secret .nonceKey.create }}
{{- $shared = merge $shared (dict "nonce_key_file" "/etc/sidecar/dpop/nonce-key") }}
{{- end }}
{{- if .replay.secret }}
{{- $shared = merge $shared (dict "replay" (dict "store" "redis" "url_file" "/etc/sidecar/dpop/url")) }}
{{- end }}
{{- if $shared }}
{{- $file = merge $file (dict "dpop" $shared) }}
{{- end }}
{{- end }}
{{- end }}
{{- with $sidecar.authorizationServer }}
{{- if .settings }}
{{- if not .clients.secret }}
{{- fail "sidecar.authorizationServer.clients.secret: name the Secret with the files of clients" }}
{{- end }}
{{- $server := merge (dict "client_files" (list "/etc/sidecar/clients/*.yaml")) (deepCopy .settings) }}
{{- $file = merge $file (dict "authorization_server" $server) }}
{{- end }}
{{- end }}
{{- mergeOverwrite $file (deepCopy $sidecar.serviceFile) | toYaml }}
{{- end }}

{{- /* Paths that the kubelet requests without a token, as a JSON list without duplicates. */ -}}
{{- define "bound-token-sidecar.probePaths" -}}
{{- $paths := .Values.sidecar.probePaths }}
{{- if .Values.application.enabled }}
{{- range list "startup" "liveness" "readiness" }}
{{- with get $.Values.application.probes . }}
{{- if .path }}
{{- $paths = append $paths (regexReplaceAll "[?].*$" .path "") }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- $paths | uniq | toJson }}
{{- end }}

{{- /* gRPC services whose health the health port may ask the API about, as a JSON list without duplicates. */ -}}
{{- define "bound-token-sidecar.grpcServices" -}}
{{- $services := .Values.sidecar.grpcServices }}
{{- if .Values.application.enabled }}
{{- range list "startup" "liveness" "readiness" }}
{{- $probe := get $.Values.application.probes . }}
{{- if hasKey $probe "grpc" }}
{{- $services = append $services (default "" $probe.grpc.service) }}
{{- end }}
{{- end }}
{{- end }}
{{- $services | uniq | toJson }}
{{- end }}

{{- /* The protocol of the API: as chosen, or h2 where the Service's port or a probe says so; empty: HTTP/1.1. */ -}}
{{- define "bound-token-sidecar.upstreamProtocol" -}}
{{- $name := .Values.application.service.name }}
{{- $named := and (regexMatch "^(grpc|h2c|http2)(-.*)?$" $name) (not (regexMatch "^grpc-web(-.*)?$" $name)) }}
{{- if .Values.sidecar.upstreamProtocol }}
{{- .Values.sidecar.upstreamProtocol }}
{{- else if or (and .Values.application.enabled $named) (include "bound-token-sidecar.grpcServices" . | fromJsonArray) }}
{{- "h2" }}
{{- end }}
{{- end }}

{{- define "bound-token-sidecar.probeRules" -}}
rules:
{{- range $index, $path := include "bound-token-sidecar.probePaths" . | fromJsonArray }}
  - name: probe-{{ add1 $index }}
    match: {methods: [GET], path: {{ $path | quote }}}
    public: true
{{- end }}
{{- end }}

{{- /* The policy files as ConfigMap data; a file is text, or a mapping that is written as text. */ -}}
{{- define "bound-token-sidecar.policyData" -}}
{{- if not .Values.policies.files }}
default-deny.yaml: |
  # No policy was given: every request is refused.
  rules: []
{{- end }}
{{- range $name, $content := .Values.policies.files }}
{{ $name }}: |
  {{- (kindIs "string" $content | ternary $content (toYaml $content)) | nindent 2 }}
{{- end }}
{{- end }}
