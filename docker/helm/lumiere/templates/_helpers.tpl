{{- define "lumiere.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "lumiere.labels" -}}
app.kubernetes.io/name: lumiere
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "lumiere.selector" -}}
app.kubernetes.io/name: lumiere
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The end of the names of a pool of workers: -worker, or -worker-NAME. */}}
{{- define "lumiere.worker" -}}
-worker{{ with . }}-{{ . }}{{ end }}
{{- end }}

{{/* What gateways and workers are told alike. */}}
{{- define "lumiere.environment" -}}
- name: LUMIERE_QUEUE_NAME
  value: {{ .Values.worker.queue | quote }}
- name: LUMIERE_STORAGE_URL
  value: {{ .Values.storage.url | quote }}
{{- if .Values.storage.endpoint }}
- name: LUMIERE_STORAGE_ENDPOINT
  value: {{ .Values.storage.endpoint | quote }}
{{- end }}
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "lumiere.credentials" -}}
{{- if .Values.storage.credentialsSecret }}
envFrom:
  - secretRef:
      name: {{ .Values.storage.credentialsSecret }}
{{- end }}
{{- end }}

{{- define "lumiere.podSecurity" -}}
automountServiceAccountToken: {{ if .Values.serviceAccountName }}true{{ else }}false{{ end }}
{{- if .Values.serviceAccountName }}
serviceAccountName: {{ .Values.serviceAccountName }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "lumiere.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- define "lumiere.mounts" -}}
- name: data
  mountPath: /data
- name: tmp
  mountPath: /tmp
{{- if .Values.models.volume }}
- name: models
  mountPath: /models
  readOnly: true
{{- end }}
{{- end }}

{{- define "lumiere.volumes" -}}
- name: data
  emptyDir: {}
- name: tmp
  emptyDir: {}
{{- with .Values.models.volume }}
- name: models
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
