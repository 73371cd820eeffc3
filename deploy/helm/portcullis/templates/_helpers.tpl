{{- define "portcullis.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "portcullis.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "portcullis.labels" -}}
{{ include "portcullis.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "portcullis.hasClients" -}}
{{- if ne .Values.tls.clientAuth "none" }}true{{ end }}
{{- end }}

{{- define "portcullis.listenerTls" -}}
cert: /etc/portcullis/tls/tls.crt
key: /etc/portcullis/tls/tls.key
clientAuth: {{ .Values.tls.clientAuth }}
{{- if include "portcullis.hasClients" . }}
clientCa: [/etc/portcullis/clients/ca.crt]
{{- if .Values.tls.clientCa.crl }}
crl: [/etc/portcullis/clients/ca.crl]
{{- end }}
{{- end }}
{{- end }}

{{/* What the chart decides goes over what the values say. */}}
{{- define "portcullis.config" -}}
{{- $tls := include "portcullis.listenerTls" . | fromYaml }}
{{- $listen := dict "host" "0.0.0.0" "port" 5443 "tls" $tls }}
{{- $cache := dict "dir" "/var/lib/portcullis" }}
{{- $own := dict "listen" $listen "cache" $cache }}
{{- if .Values.metrics.enabled }}
{{- $_ := set $own "admin" (dict "host" "0.0.0.0" "port" 5480 "tls" $tls) }}
{{- end }}
{{- with .Values.sharing }}
{{- if .enabled }}
{{- $host := printf "%s.%s.svc" (include "portcullis.name" $) $.Release.Namespace }}
{{- $pair := dict "ca" "/etc/portcullis/replica/ca.crt" "cert" "/etc/portcullis/replica/tls.crt" "key" "/etc/portcullis/replica/tls.key" }}
{{- $dns := printf "%s-replicas.%s.svc.%s" (include "portcullis.name" $) $.Release.Namespace .clusterDomain }}
{{- $tls := set $pair "serverName" (.serverName | default $host) }}
{{- $_ := set $own "replicas" (dict "dns" $dns "port" 5443 "identity" (list .identity) "tls" $tls) }}
{{- $_ := set $listen "leaveDelay" (dig "listen" "leaveDelay" "10s" $.Values.config) }}
{{- end }}
{{- end }}
{{- mustMergeOverwrite (deepCopy .Values.config) $own | toYaml }}
{{- end }}
