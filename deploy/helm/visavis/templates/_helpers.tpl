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
