{{- define "visavis.name" -}}
{{- printf "%s" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- define "visavis.labels" -}}
app.kubernetes.io/name: visavis
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- define "visavis.secret" -}}
{{- .Values.existingSecret | default (printf "%s-key" (include "visavis.name" .)) -}}
{{- end -}}
{{- define "visavis.turnSecret" -}}
{{- .Values.turn.existingSecret | default (printf "%s-turn" (include "visavis.name" .)) -}}
{{- end -}}
{{- define "visavis.clusterSecret" -}}
{{- .Values.cluster.existingSecret | default (printf "%s-cluster" (include "visavis.name" .)) -}}
{{- end -}}
{{- /* Pods are called after the release, and nodes after their pods: 32 characters at most. */ -}}
{{- define "visavis.nodeAddress" -}}
{{- if eq .Values.kind "Deployment" }}{{ fail "cluster.enabled: a Deployment stops its pods before it starts others, so nobody could go on elsewhere; legal kinds are StatefulSet and DaemonSet" }}{{ end -}}
{{- range $name := list "cluster_url" "cluster_secret" "node_name" -}}
{{- if hasKey $.Values.settings $name }}{{ fail (printf "settings.%s: cluster.enabled sets it" $name) }}{{ end -}}
{{- end -}}
{{- if gt (len (include "visavis.name" .)) 26 }}{{ fail "cluster.enabled: the name of the release may have 26 characters, as nodes are called after it" }}{{ end -}}
{{- index .Values.settings "node_address" | default (printf "http://$(POD_IP):%v" .Values.service.port) -}}
{{- end -}}
{{- define "visavis.ports" -}}
{{- required "settings.ice_port_range: media.reach pod needs a range of ports, such as 50000-50100" .Values.settings.ice_port_range -}}
{{- end -}}
{{- define "visavis.iceServers" -}}
{{- if index .Values.settings "ice_servers" }}{{ fail "turn.enabled: settings.ice_servers names servers, too; give one of the two" }}{{ end -}}
{{- if not .Values.turn.urls }}{{ fail "turn.urls: name the addresses of the TURN servers, such as turn:turn.example.org:3478?transport=udp" }}{{ end -}}
{{- list (dict "urls" .Values.turn.urls "secret_file" "/secrets/turn/secret" "ttl" .Values.turn.ttl "used_by" .Values.turn.usedBy) | toRawJson -}}
{{- end -}}
{{- define "visavis.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .Values.persistence.storageClass }}
storageClassName: {{ . }}
{{- end }}
resources: {requests: {storage: {{ .Values.persistence.size }}}}
{{- end -}}

{{/* A setting as its variable holds it: words of a list with commas, a list of anything else and a map as JSON. */}}
{{- define "visavis.setting" -}}
{{- $words := kindIs "slice" . -}}
{{- if $words -}}
{{- range . -}}
{{- if or (kindIs "map" .) (kindIs "slice" .) -}}{{- $words = false -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if kindIs "string" . -}}{{ . }}{{- else if $words -}}{{ join "," . }}{{- else -}}{{ toRawJson . }}{{- end -}}
{{- end -}}
