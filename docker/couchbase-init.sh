#!/bin/sh
# Sets up the one Couchbase node of docker-compose.yml: cluster, bucket, user, scopes, collections. Leaves alone what is there.
set -eu
base=http://couchbase:8091
work=$(mktemp -d)
tr -d '\r\n' < /run/secrets/couchbase_admin_password > "$work/admin"
tr -d '\r\n' < /run/secrets/store_password > "$work/store"
# Passwords never stand in an argument: those are seen by everybody on the machine.
printf 'user = "admin:%s"\n' "$(cat "$work/admin")" > "$work/curl"
ask() { curl --silent --show-error --fail --config "$work/curl" "$@"; }
there() { ask --output /dev/null "$1" 2> /dev/null; }

until curl --silent --fail --output /dev/null "$base/ui/index.html"; do sleep 1; done
there "$base/pools/default" || curl --silent --show-error --fail "$base/clusterInit" \
  --data username=admin --data-urlencode "password@$work/admin" --data port=SAME --data services=kv --data memoryQuota=512 --data hostname=127.0.0.1
there "$base/pools/default/buckets/holdfast" || ask "$base/pools/default/buckets" \
  --data name=holdfast --data ramQuota=256 --data storageBackend=couchstore --data replicaNumber=0
until ask "$base/pools/default/buckets/holdfast" | grep -q '"status":"healthy"'; do sleep 1; done
ask --request PUT "$base/settings/rbac/users/local/holdfast" --data roles='data_reader[holdfast],data_writer[holdfast]' --data-urlencode "password@$work/store"

scopes="$base/pools/default/buckets/holdfast/scopes"
collection() {
  found=$(ask "$scopes")
  echo "$found" | grep -q "\"name\":\"$1\"" || ask "$scopes" --data name="$1"
  ask "$scopes/$1/collections" --data name="$2" 2> /dev/null || ask "$scopes" | grep -q "\"name\":\"$2\""
}
collection holdfast documents
collection holdfast indexes
collection holdfast-private log
