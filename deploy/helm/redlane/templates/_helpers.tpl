{{- define "redlane.fullname" -}}
{{- if contains "redlane" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-redlane" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* Labels by which a component's pods are selected. Takes (root, component). */}}
{{- define "redlane.selector" -}}
app.kubernetes.io/name: redlane
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "redlane.labels" -}}
{{ include "redlane.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "redlane.name" -}}
{{ include "redlane.fullname" .root }}-{{ .component }}
{{- end }}

{{/* The image by digest, else by tag. Takes (root, image, override). */}}
{{- define "redlane.image" -}}
{{- $image := merge (deepCopy (.override | default dict)) (index .root.Values.image .image) }}
{{- if and .override (hasKey .override "tag") (not (hasKey .override "digest")) }}
{{- $_ := set $image "digest" "" }}
{{- end }}
{{- with .root.Values.image.registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The name of the component's user in Kafka, and of its Secret. Takes (root, component). */}}
{{- define "redlane.kafkaUser" -}}
{{- (index .root.Values .component).kafkaUser | default (printf "%s%s" .root.Values.kafka.userPrefix .component) }}
{{- end }}

{{/* Settings of a component as JSON: those of all, overridden by its own. Takes (root, component). */}}
{{- define "redlane.settings" -}}
{{- mustMergeOverwrite (deepCopy .root.Values.settings) (deepCopy (index .root.Values .component).settings) | toJson }}
{{- end }}

{{/* A setting as text: Helm reads every number as a float. */}}
{{- define "redlane.text" -}}
{{- if kindIs "slice" . }}{{ join "," . }}
{{- else if kindIs "map" . }}{{ toJson . }}
{{- else if and (kindIs "float64" .) (eq . (floor .)) }}{{ int64 . }}
{{- else }}{{ toString . }}{{ end }}
{{- end }}

{{/* The environment of a container. Takes (root, component). */}}
{{- define "redlane.env" -}}
{{- $settings := include "redlane.settings" . | fromJson }}
{{- if and (eq .component "deliver") (not (regexMatch "^https?://" ($settings.deliver_url | default ""))) }}
{{- fail "deliver.settings.deliver_url must be the address that takes events: https://…" }}
{{- end }}
{{- range $name, $value := $settings }}
{{- if or (not (hasPrefix "console_" $name)) (eq $.component "console") }}
- name: REDLANE_{{ upper $name }}
  value: {{ include "redlane.text" $value | quote }}
{{- end }}
{{- end }}
- name: REDLANE_SECRETS_DIR
  value: /run/secrets/redlane
{{- if eq $settings.kafka_security_protocol "SASL_SSL" }}
- name: REDLANE_KAFKA_USERNAME
  value: {{ include "redlane.kafkaUser" . }}
{{- end }}
{{- range $name, $file := .root.Values.files }}
- name: REDLANE_{{ upper $name }}
  value: /run/secrets/redlane/{{ $name }}
{{- end }}
{{- if .root.Values.kafka.clientCertificates }}
- name: REDLANE_KAFKA_CERTIFICATE_FILE
  value: /run/secrets/redlane/kafka-user.crt
- name: REDLANE_KAFKA_KEY_FILE
  value: /run/secrets/redlane/kafka-user.key
{{- end }}
{{- $it := index (include "redlane.components" . | fromYaml) .component }}
{{- if $it.command }}
- name: REDLANE_HEALTH_HOST
  value: "0.0.0.0"
- name: REDLANE_HEALTH_PORT
  value: "6066"
{{- end }}
{{- if $it.bundle }}
- name: REDLANE_BUNDLE
  value: /bundle/model
{{- end }}
{{- end }}

{{/*
What each component is, as YAML. command: of workers. topic and group, the setting that names its
consumer group: of those that are scaled on lag. bundle: of those that score. calls: the services that it
uses. required: secret settings that it cannot do without; optional: those that depend on the installation.
*/}}
{{- define "redlane.components" -}}
deploy:
  calls: [kafka, registry]
  required: []
  optional: [REGISTRY_TOKEN]
intake:
  command: [intake]
  topic: customs-messages
  group: intake_consumer_group
  calls: [kafka, registry, objectStorage]
  required: [S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY]
  optional: []
screen:
  command: [screen]
  topic: declarations
  group: consumer_group
  bundle: true
  calls: [kafka, registry, redis, objectStorage]
  required: [PSEUDONYM_KEY, REDIS_URL, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, SELECTION_KEY]
  optional: []
explain:
  command: [explain]
  topic: alerts
  group: explain_consumer_group
  bundle: true
  calls: [kafka, registry, redis, objectStorage]
  required: [PSEUDONYM_KEY, REDIS_URL, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, SELECTION_KEY]
  optional: []
learn:
  command: [learn]
  topic: inspection-outcomes
  group: learn_consumer_group
  calls: [kafka, registry, redis]
  required: [PSEUDONYM_KEY, REDIS_URL, SELECTION_KEY]
  optional: []
deliver:
  command: [deliver]
  topic: alerts
  group: deliver_consumer_group
  calls: [kafka, registry, receiver]
  required: [DELIVER_SECRET]
  optional: []
audit:
  command: [audit, run]
  calls: [kafka, registry, objectStorage]
  required: []
  optional: [S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY]
console:
  calls: [kafka, registry, objectStorage, database]
  required: [PSEUDONYM_KEY, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY]
  optional: [CONSOLE_DATABASE_URL, CONSOLE_PROXY_SECRET]
{{- end }}

{{/* Those that are switched on, as YAML; workers alone if asked for. Takes (root, workers). */}}
{{- define "redlane.enabled" -}}
{{- $enabled := dict }}
{{- range $component, $it := include "redlane.components" . | fromYaml }}
{{- if and (index $.root.Values $component).enabled (or $it.command (not $.workers)) }}
{{- $_ := set $enabled $component $it }}
{{- end }}
{{- end }}
{{- toYaml $enabled }}
{{- end }}

{{/* The volumes that every pod has. Takes (root, component). */}}
{{- define "redlane.volumes" -}}
{{- $secret := (index .root.Values .component).secret | default .root.Values.secrets.existing }}
{{- $names := index (include "redlane.components" . | fromYaml) .component }}
{{- $settings := include "redlane.settings" . | fromJson }}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- with $names.required }}
      - secret:
          name: {{ $secret }}
          items:
            {{- range . }}
            - {key: REDLANE_{{ . }}, path: REDLANE_{{ . }}}
            {{- end }}
      {{- end }}
      {{- range $names.optional }}
      - secret:
          name: {{ $secret }}
          optional: true
          items:
            - {key: REDLANE_{{ . }}, path: REDLANE_{{ . }}}
      {{- end }}
      {{- if eq $settings.kafka_security_protocol "SASL_SSL" }}
      - secret:
          name: {{ include "redlane.kafkaUser" . }}
          items:
            - {key: password, path: REDLANE_KAFKA_PASSWORD}
      {{- end }}
      {{- if .root.Values.kafka.clientCertificates }}
      - secret:
          name: {{ include "redlane.kafkaUser" . }}
          items:
            - {key: user.crt, path: kafka-user.crt}
            - {key: user.key, path: kafka-user.key}
      {{- end }}
      {{- range $name, $file := .root.Values.files }}
      - secret:
          name: {{ $file.secret }}
          items:
            - {key: {{ $file.key }}, path: {{ $name }}}
      {{- end }}
{{- end }}

{{- define "redlane.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: secrets, mountPath: /run/secrets/redlane, readOnly: true}
{{- end }}

{{- define "redlane.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "redlane.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Seconds for an orderly stop, and some to spare. Takes (root, component). */}}
{{- define "redlane.grace" -}}
{{- $own := (index .root.Values .component).terminationGracePeriodSeconds | int }}
{{- $stop := (include "redlane.settings" . | fromJson).stop_within_s | float64 | ceil | int }}
{{- if $own }}
{{- if le $own $stop }}
{{- fail (printf "%s.terminationGracePeriodSeconds must be above settings.stop_within_s (%d)" .component $stop) }}
{{- end }}
{{- $own }}
{{- else }}{{ add $stop 30 }}{{ end }}
{{- end }}

{{/* Where pods may run. Takes (root, component). */}}
{{- define "redlane.placement" -}}
{{- $values := index .root.Values .component }}
{{- $tolerations := $values.tolerations }}
{{- if $values.gpu }}
{{- $tolerations = append $tolerations (dict "key" $values.gpuResource "operator" "Exists" "effect" "NoSchedule") }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{- toYaml . | nindent 4 }}
    labelSelector:
      matchLabels: {{- include "redlane.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Whether `deploy` is a hook: its Secrets must be there before all that the chart makes. */}}
{{- define "redlane.deployHook" -}}
{{- if not (or .Values.externalSecrets.enabled (and .Values.strimzi.enabled .Values.strimzi.users)) }}yes{{ end }}
{{- end }}

{{- define "redlane.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-delete-policy: before-hook-creation
{{- end }}
