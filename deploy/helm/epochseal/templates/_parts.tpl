{{/* What all three parts share. */}}
{{- define "epochseal.image" -}}
{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "epochseal.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "epochseal.pod-security" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
# Else each mount would make all files of the volume writable for the group, and such a state is refused.
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "epochseal.container-security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: ["ALL"]
{{- end }}

{{/* Mounts and volumes of whoever verifies: logs that cannot be written, keys, credentials, its own memory. */}}
{{- define "epochseal.reader-mounts" -}}
- {name: config, mountPath: /etc/epochseal/config, readOnly: true}
- {name: logs, mountPath: /var/log/sealed, readOnly: true}
- {name: state, mountPath: /var/lib/epochseal}
- {name: tmp, mountPath: /tmp}
{{- if .keysConfigMap }}
- {name: keys, mountPath: /etc/epochseal/keys, readOnly: true}
{{- end }}
{{- if .credentialsSecret }}
- {name: credentials, mountPath: /etc/epochseal/credentials, readOnly: true}
{{- end }}
{{- end }}

{{- define "epochseal.reader-volumes" -}}
- name: logs
  persistentVolumeClaim: {claimName: {{ .logsClaim | quote }}, readOnly: true}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- if .keysConfigMap }}
- name: keys
  configMap: {name: {{ .keysConfigMap | quote }}}
{{- end }}
{{- if .credentialsSecret }}
- name: credentials
  secret: {secretName: {{ .credentialsSecret | quote }}, defaultMode: 288}
{{- end }}
{{- end }}

{{- define "epochseal.claim" -}}
accessModes: ["ReadWriteOnce"]
{{- if .storageClass }}
storageClassName: {{ .storageClass | quote }}
{{- end }}
resources:
  requests:
    storage: {{ .storage | quote }}
{{- end }}
