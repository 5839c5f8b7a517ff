{{- define "driftline.name" -}}
{{- $name := ternary .Release.Name (printf "%s-driftline" .Release.Name) (contains "driftline" .Release.Name) -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "driftline.keys" -}}
{{- .Values.keys.secret | default (printf "%s-keys" (include "driftline.name" .)) -}}
{{- end }}

{{- /* Labels that select the pods of a component: {root, component}. */ -}}
{{- define "driftline.selector" -}}
app.kubernetes.io/name: driftline
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "driftline.labels" -}}
{{ include "driftline.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "driftline.metadata" -}}
name: {{ printf "%s%s" (include "driftline.name" .root) (empty .suffix | ternary "" (printf "-%s" .suffix)) | quote }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- include "driftline.labels" . | nindent 2 }}
{{- end }}

{{- /* Who runs a pod and what it may do: {root, asks}; `asks`: it looks for engines. */ -}}
{{- define "driftline.pod" -}}
{{- if and .asks .root.Values.discovery.namespaces }}
serviceAccountName: {{ include "driftline.name" .root | quote }}
automountServiceAccountToken: true
{{- else }}
automountServiceAccountToken: false
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Image, rights and environment of a container: {root, image, owner, waits}; `waits`: for the migration. */ -}}
{{- define "driftline.container" -}}
image: {{ printf "%s%s:%s" .root.Values.image.repository .image (.root.Values.image.tag | default .root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
  - {name: DRIFTLINE_CONFIG, value: /etc/driftline/config.toml}
  {{- if eq .image "-gateway" }}
  - {name: DRIFTLINE_GATEWAY__SERVICE, value: {{ printf "http://%s:8440" (include "driftline.name" .root) | quote }}}
  - {name: DRIFTLINE_GATEWAY__KEY_FILE, value: /run/driftline/gateway.key}
  {{- else }}
  {{- if .waits }}
  - {name: DRIFTLINE_DATABASE__MIGRATES, value: "false"}
  {{- end }}
  {{- if .root.Values.database.secret }}
  - name: DRIFTLINE_DATABASE__URL
    valueFrom:
      secretKeyRef: {name: {{ .root.Values.database.secret | quote }}, key: {{ .root.Values.database.urlKey | quote }}}
  {{- if and .owner .root.Values.database.ownerUrlKey }}
  - name: DRIFTLINE_DATABASE__OWNER_URL
    valueFrom:
      secretKeyRef: {name: {{ .root.Values.database.secret | quote }}, key: {{ .root.Values.database.ownerUrlKey | quote }}}
  {{- end }}
  {{- end }}
  {{- end }}
  {{- with .root.Values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .root.Values.envFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* {root, keys}: `keys` names those of the keys' secret that the data folder gets. */ -}}
{{- define "driftline.mounts" -}}
- {name: config, mountPath: /etc/driftline, readOnly: true}
- {name: data, mountPath: /var/lib/driftline}
- {name: tmp, mountPath: /tmp}
{{- range .keys }}
- {name: keys, mountPath: /var/lib/driftline/{{ . }}, subPath: {{ . }}, readOnly: true}
{{- end }}
{{- with .root.Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "driftline.volumes" -}}
- name: config
  configMap: {name: {{ include "driftline.name" .root | quote }}}
- name: tmp
  emptyDir: {}
- name: keys
  secret: {secretName: {{ include "driftline.keys" .root | quote }}, defaultMode: 0440}
{{- with .root.Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "driftline.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: {{ . }}}
  periodSeconds: 3
  failureThreshold: 100
livenessProbe:
  httpGet: {path: /livez, port: {{ . }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: {{ . }}}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{- /* The keys that gateway and Prometheus use; running it again changes nothing: {root, mounts}. */ -}}
{{- define "driftline.take-keys" -}}
{{- range $name, $scopes := dict "gateway" (list "read" "ingest") "metrics" (list "read") }}
- name: key-of-{{ $name }}
  {{- include "driftline.container" (dict "root" $.root "image" $.image "owner" true) | nindent 2 }}
  args: [keys, create, {{ $name }}, {{ range $scopes }}--scope, {{ . }}, {{ end }}--from-file, /run/driftline/{{ $name }}.key]
  resources: {{- toYaml $.root.Values.api.resources | nindent 4 }}
  volumeMounts:
    {{- include "driftline.mounts" (dict "root" $.root) | nindent 4 }}
    - {name: keys, mountPath: /run/driftline, readOnly: true}
{{- end }}
{{- end }}
