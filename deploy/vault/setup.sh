#!/usr/bin/env bash
# Provision one log in OpenBao or HashiCorp Vault: a transit engine, two keys, a policy and an AppRole for each role;
# then prove, with a login of each role, what it can and cannot do. Run again, it changes nothing that is right already.
#
#   ORIGIN=example.com/payments ./setup.sh
#
# needs bao or vault on the PATH, and an administrator's address and token as these programs take them
# (BAO_ADDR, BAO_TOKEN, … or VAULT_ADDR, VAULT_TOKEN, …). Further variables:
#
#   NAME=payments               in the names of keys, policies and roles; default: ORIGIN, with - for other characters
#   MOUNT=transit               path of the transit engine
#   CHECKPOINT_TYPE=ed25519     or ecdsa-p256
#   CHECKPOINT_VERSIONS=1       versions of the checkpoint key that the agent may sign with; before its rotation: '1 2'
#   TOKEN_TTL=10m               how long a login is good
set -euo pipefail

fail() {
  echo "setup.sh: error: $1" >&2
  echo "setup.sh: hint: $2" >&2
  exit 1
}

say() { echo "setup.sh: $1"; }

: "${ORIGIN:=}"
[[ -n $ORIGIN ]] || fail 'no ORIGIN is given' 'ORIGIN=example.com/payments ./setup.sh'
[[ $ORIGIN != *[\;+[:space:][:cntrl:]]* ]] || fail "not the origin of a log: $ORIGIN" "leave out spaces, ';' and '+'"
NAME=${NAME:-${ORIGIN//[^A-Za-z0-9]/-}}
[[ $NAME =~ ^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$ ]] || fail "not a name: $NAME" 'set NAME=letters-and-digits'
MOUNT=${MOUNT:-transit}
[[ $MOUNT =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$ ]] \
  || fail "not the path of an engine: $MOUNT" 'set MOUNT=transit, without slashes around it'
CHECKPOINT_TYPE=${CHECKPOINT_TYPE:-ed25519}
TOKEN_TTL=${TOKEN_TTL:-10m}
CHECKPOINT_VERSIONS=${CHECKPOINT_VERSIONS:-1}
[[ $CHECKPOINT_VERSIONS =~ ^[1-9][0-9]*(\ [1-9][0-9]*)*$ ]] \
  || fail "not versions of a key: $CHECKPOINT_VERSIONS" "set CHECKPOINT_VERSIONS='1 2'"
EPOCH_KEY=$NAME-epoch
CHECKPOINT_KEY=$NAME-checkpoint
readonly ORIGIN NAME MOUNT CHECKPOINT_TYPE CHECKPOINT_VERSIONS TOKEN_TTL EPOCH_KEY CHECKPOINT_KEY

cli=$(command -v bao || command -v vault) || fail 'neither bao nor vault is on the PATH' 'install one of them'
cd "$(dirname "$0")"

# The same for every context of this log (Context.encode): padded to a multiple of 3 bytes, so that base64 keeps it.
context_head() {
  local LC_ALL=C head="log=$1;"
  while ((${#head} % 3)); do head+=';'; done
  printf '%s' "$head"
}
encode() { printf '%s' "$1" | base64 | tr -d '\n'; }
CONTEXT_PREFIX=$(encode "$(context_head "$ORIGIN")")
readonly cli CONTEXT_PREFIX

has() { "$cli" "$@" >/dev/null 2>&1; }
field() { "$cli" read -field="$1" "$2"; }

"$cli" token lookup >/dev/null || fail 'the server refuses this token, or is not there' 'set BAO_ADDR and BAO_TOKEN'

if [[ $("$cli" secrets list -format=json) != *"\"$MOUNT/\""* ]]; then
  "$cli" secrets enable -path="$MOUNT" transit
  # An engine of epochseal's own signs nothing but checkpoints, which are public.
  "$cli" secrets tune -audit-non-hmac-request-keys=input "$MOUNT/"
fi
# For epochseal reconcile: contexts and ciphertexts stand in the audit trail as they are. Neither is a secret.
shown=(-audit-non-hmac-request-keys=context)
if [[ $(field audit_non_hmac_request_keys "sys/mounts/$MOUNT/tune" 2>/dev/null) == *input* ]]; then
  shown+=(-audit-non-hmac-request-keys=input)
fi
"$cli" secrets tune "${shown[@]}" -audit-non-hmac-response-keys=ciphertext "$MOUNT/"

has read "$MOUNT/keys/$EPOCH_KEY" || "$cli" write -f "$MOUNT/keys/$EPOCH_KEY" type=aes256-gcm96 derived=true >/dev/null
has read "$MOUNT/keys/$CHECKPOINT_KEY" || "$cli" write -f "$MOUNT/keys/$CHECKPOINT_KEY" type="$CHECKPOINT_TYPE" >/dev/null

[[ $(field derived "$MOUNT/keys/$EPOCH_KEY") == true ]] \
  || fail "$MOUNT/$EPOCH_KEY is not a derived key, and would not bind secrets to their log" 'choose another NAME'
for key in "$EPOCH_KEY" "$CHECKPOINT_KEY"; do
  for property in exportable allow_plaintext_backup deletion_allowed; do
    [[ $(field "$property" "$MOUNT/keys/$key") == false ]] \
      || fail "$MOUNT/$key has $property" 'choose another NAME: what could be copied may have been'
  done
done

has read sys/auth/approle || "$cli" auth enable approle
versions="\"${CHECKPOINT_VERSIONS// /\", \"}\""
for role in agent verifier auditor; do
  sed -e "s|@MOUNT@|$MOUNT|g" -e "s|@EPOCH_KEY@|$EPOCH_KEY|g" -e "s|@CHECKPOINT_KEY@|$CHECKPOINT_KEY|g" \
    -e "s|@CONTEXT_PREFIX@|$CONTEXT_PREFIX|g" -e "s|@CHECKPOINT_VERSIONS@|$versions|g" "$role.hcl" | "$cli" policy write "$NAME-$role" - >/dev/null
  # Batch tokens: a login each epoch leaves nothing behind in the server's storage.
  "$cli" write "auth/approle/role/$NAME-$role" token_policies="$NAME-$role" token_type=batch \
    token_ttl="$TOKEN_TTL" token_max_ttl="$TOKEN_TTL" >/dev/null
done
say "keys $MOUNT/$EPOCH_KEY and $MOUNT/$CHECKPOINT_KEY, roles $NAME-agent, $NAME-verifier, $NAME-auditor"

# --- the proof ---

failures=0

# login ROLE: become that role, by a secret id of its own that is good for one login.
login() {
  local role_id secret_id
  role_id=$(field role_id "auth/approle/role/$NAME-$1/role-id")
  secret_id=$("$cli" write -f -field=secret_id "auth/approle/role/$NAME-$1/secret-id")
  # By standard input, so that no secret stands in a process list.
  token=$(printf '{"role_id":"%s","secret_id":"%s"}' "$role_id" "$secret_id" \
    | "$cli" write -field=token auth/approle/login -)
  printf '{"secret_id":"%s"}' "$secret_id" | "$cli" write "auth/approle/role/$NAME-$1/secret-id/destroy" - >/dev/null
}
as_role() { BAO_TOKEN=$token VAULT_TOKEN=$token "$cli" "$@"; }

# can ROLE WHAT COMMAND…: that role's call succeeds.
can() {
  local role=$1 what=$2
  shift 2
  if as_role "$@" >/dev/null 2>&1; then
    say "$role can $what"
  else
    echo "setup.sh: WRONG: $role cannot $what" >&2
    failures=$((failures + 1))
  fi
}

# cannot ROLE WHAT COMMAND…: that role's call is refused for want of a permission, and for no other reason.
cannot() {
  local role=$1 what=$2 answer
  shift 2
  if answer=$(as_role "$@" 2>&1 >/dev/null) || [[ $answer != *'Code: 403'* ]]; then
    echo "setup.sh: WRONG: $role is not refused to $what" >&2
    failures=$((failures + 1))
  else
    say "$role cannot $what"
  fi
}

# No log has this id, so the trail tells the secret of this proof from those of logs.
zeros=$(printf 'A%.0s' {1..43})=
context=$(encode "$(context_head "$ORIGIN")id=$zeros;epoch=0;prev=$zeros")
foreign=$(encode "$(context_head 'epochseal.invalid/setup')id=$zeros;epoch=0;prev=$zeros")
message=$(encode 'epochseal setup.sh')
issue=$MOUNT/datakey/plaintext/$EPOCH_KEY

login agent
ciphertext=$(as_role write -field=ciphertext "$issue" context="$context") \
  || fail "$NAME-agent has no epoch secret issued" 'see the message above'
say "agent can have epoch secrets issued"
version=${CHECKPOINT_VERSIONS##* }
can agent 'sign checkpoints' write "$MOUNT/sign/$CHECKPOINT_KEY" input="$message" key_version="$version"
cannot agent 'sign with another version of the key' write "$MOUNT/sign/$CHECKPOINT_KEY" input="$message" key_version=999
cannot agent 'sign without naming the version' write "$MOUNT/sign/$CHECKPOINT_KEY" input="$message"
can agent 'read the public checkpoint key' read "$MOUNT/keys/$CHECKPOINT_KEY"
cannot agent 'have secrets of another log issued' write "$issue" context="$foreign"
cannot agent 'have secrets of another size issued' write "$issue" context="$context" bits=128
cannot agent 'recover what it was issued' write "$MOUNT/decrypt/$EPOCH_KEY" context="$context" ciphertext="$ciphertext"
cannot agent 'wrap secrets of its own' write "$MOUNT/encrypt/$EPOCH_KEY" context="$context" plaintext="$message"
cannot agent 'export the epoch key' read "$MOUNT/export/encryption-key/$EPOCH_KEY"
cannot agent 'export the checkpoint key' read "$MOUNT/export/signing-key/$CHECKPOINT_KEY"
cannot agent 'back up the epoch key' read "$MOUNT/backup/$EPOCH_KEY"
cannot agent 'configure the epoch key' write "$MOUNT/keys/$EPOCH_KEY/config" deletion_allowed=false
cannot agent 'configure the checkpoint key' write "$MOUNT/keys/$CHECKPOINT_KEY/config" deletion_allowed=false

login verifier
can verifier 'recover epoch secrets' write "$MOUNT/decrypt/$EPOCH_KEY" context="$context" ciphertext="$ciphertext"
can verifier 'read the public checkpoint key' read "$MOUNT/keys/$CHECKPOINT_KEY"
cannot verifier 'sign checkpoints' write "$MOUNT/sign/$CHECKPOINT_KEY" input="$message"
cannot verifier 'have epoch secrets issued' write "$issue" context="$context"
cannot verifier 'export the epoch key' read "$MOUNT/export/encryption-key/$EPOCH_KEY"
cannot verifier 'configure the epoch key' write "$MOUNT/keys/$EPOCH_KEY/config" deletion_allowed=false

login auditor
can auditor 'read the public checkpoint key' read "$MOUNT/keys/$CHECKPOINT_KEY"
cannot auditor 'have epoch secrets issued' write "$issue" context="$context"
cannot auditor 'recover epoch secrets' write "$MOUNT/decrypt/$EPOCH_KEY" context="$context" ciphertext="$ciphertext"
cannot auditor 'sign checkpoints' write "$MOUNT/sign/$CHECKPOINT_KEY" input="$message"
cannot auditor 'read the epoch key' read "$MOUNT/keys/$EPOCH_KEY"

((failures == 0)) || fail "$failures of these are wrong" 'is there another policy on these roles, or a wider one?'
if [[ $("$cli" audit list -format=json 2>/dev/null) != *'"file"'* ]]; then
  say 'note: no audit device of type file is enabled, so epochseal reconcile has no trail to compare with'
fi

# A line of TOML, if there is a value.
setting() { [[ -z $2 ]] || printf '  %s = "%s"\n' "$1" "$2"; }
login_of() {
  setting auth approle
  setting role_id "$(field role_id "auth/approle/role/$NAME-$1/role-id")"
  setting secret_id_file "/etc/epochseal/$1-secret-id"
}
# The same file serves agent and verifier: where the server is, is said once, who logs in for each.
echo 'setup.sh: all proven. The configuration, /etc/epochseal/epochseal.toml on the hosts of agent and verifier:'
echo
setting epoch_key "openbao://$MOUNT/$EPOCH_KEY"
setting checkpoint_key "openbao://$MOUNT/$CHECKPOINT_KEY"
echo '  [vault]'
setting address "${BAO_ADDR:-${VAULT_ADDR:-}}"
setting ca_file "${BAO_CACERT:-${VAULT_CACERT:-}}"
setting namespace "${BAO_NAMESPACE:-${VAULT_NAMESPACE:-}}"
login_of agent
echo '  [verifier.vault]'
login_of verifier
echo '  [[log]]'
setting dir "/var/log/sealed/$NAME"
setting origin "$ORIGIN"
cat <<END

The agent's has a [[log.source]] below that, and a verifier of a copy names the copy's directory in dir.
Each role's secret id is made on its own host and goes to no other:

  (umask 077; $(basename "$cli") write -f -field=secret_id auth/approle/role/$NAME-agent/secret-id > /etc/epochseal/agent-secret-id)
  (umask 077; $(basename "$cli") write -f -field=secret_id auth/approle/role/$NAME-verifier/secret-id > /etc/epochseal/verifier-secret-id)

The agent's host:  epochseal doctor --config /etc/epochseal/epochseal.toml
The verifier's:    epochseal verify --config /etc/epochseal/epochseal.toml
For auditors:      epochseal public-key --config /etc/epochseal/epochseal.toml -o $NAME.vkey
An auditor:        epochseal verify /var/log/sealed/$NAME --checkpoint-key $NAME.vkey

An auditor who wants the key from the server itself has the role $NAME-auditor, and the last but one command with a
file of the same form, in which its login stands in [verifier.vault]:

$(login_of auditor)

  (umask 077; $(basename "$cli") write -f -field=secret_id auth/approle/role/$NAME-auditor/secret-id > /etc/epochseal/auditor-secret-id)
END
