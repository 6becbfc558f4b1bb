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
