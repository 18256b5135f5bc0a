#!/bin/sh
# Makes the keys of epochseal in three PKCS#11 tokens, one a role, and proves what each role cannot do.
#
#   provision.sh --softhsm DIR      makes three SoftHSM tokens first, with random PINs in DIR/ROLE.pin
#   provision.sh DIR                the tokens exist; their PINs stand in DIR/agent.pin, verifier.pin, auditor.pin
#
# Environment: MODULE (the PKCS#11 module), AGENT, VERIFIER, AUDITOR (token labels), ID (01; the next of a rotation: 02)
# and CHECKPOINT_ID (c1 and the ID: no two keys of a token may have one id, since some tokens take them for one key),
# CURVE (p256 or x25519), SIGNING (ed25519 or p256), KEYS (epoch checkpoint), PYTHON (one with epochseal[pkcs11]).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
fail() { echo "provision: error: $1" >&2; echo "provision: hint: $2" >&2; exit 1; }

softhsm=no
if [ "${1:-}" = --softhsm ]; then softhsm=yes; shift; fi
[ $# -eq 1 ] || fail 'name the folder of the PINs' "$0 [--softhsm] DIR"
pins=$1
module=${MODULE:-/usr/lib/softhsm/libsofthsm2.so}
python=${PYTHON:-python3}
id=${ID:-01}
checkpoint_id=${CHECKPOINT_ID:-c1$id}
agent=${AGENT:-epochseal-agent} verifier=${VERIFIER:-epochseal-verifier} auditor=${AUDITOR:-epochseal-auditor}
[ -f "$module" ] || fail "no PKCS#11 module $module" 'set MODULE to the library of your token'

keys() { action=$1; shift; "$python" "$here/keys.py" "$action" --module "$module" "$@"; }

make_token() { # ROLE LABEL
	if [ -e "$pins/$1.pin" ]; then fail "$pins/$1.pin exists, and no token is made twice" 'name another folder'; fi
	od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$pins/$1.pin"
	od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$pins/$1.so-pin"
	# By the environment, since every user of this machine reads arguments.
	SO_PIN=$(cat "$pins/$1.so-pin") PIN=$(cat "$pins/$1.pin")
	export SO_PIN PIN
	slot=$(pkcs11-tool --module "$module" --list-slots 2>/dev/null |
		awk '/^Slot /{slot=$3; gsub(/[():]/, "", slot)} /uninitialized/{print slot; exit}')
	[ -n "$slot" ] || fail 'the module has no free slot' 'see SOFTHSM2_CONF'
	pkcs11-tool --module "$module" --slot "$slot" --init-token --label "$2" --so-pin env:SO_PIN >/dev/null
	pkcs11-tool --module "$module" --token-label "$2" --init-pin --login --login-type so \
		--so-pin env:SO_PIN --new-pin env:PIN >/dev/null
	unset SO_PIN PIN
}

if [ "$softhsm" = yes ]; then
	umask 077
	mkdir -p "$pins"
	make_token agent "$agent"
	make_token verifier "$verifier"
	make_token auditor "$auditor"
fi
for role in agent verifier auditor; do
	[ -r "$pins/$role.pin" ] || fail "no PIN of the $role in $pins/$role.pin" 'write it there, readable by you alone'
done

# Each private half is made where it stays; only public ones travel.
for key in ${KEYS:-epoch checkpoint}; do
	case $key in
	epoch)
		keys generate --token "$verifier" --pin-file "$pins/verifier.pin" --label epoch --id "$id" \
			--curve "${CURVE:-p256}" --use derive
		keys copy --token "$verifier" --pin-file "$pins/verifier.pin" --label epoch --id "$id" \
			--to "$agent" --to-pin-file "$pins/agent.pin"
		;;
	checkpoint)
		keys generate --token "$agent" --pin-file "$pins/agent.pin" --label checkpoint --id "$checkpoint_id" \
			--curve "${SIGNING:-ed25519}" --use sign
		keys copy --token "$agent" --pin-file "$pins/agent.pin" --label checkpoint --id "$checkpoint_id" \
			--to "$verifier" --to-pin-file "$pins/verifier.pin"
		keys copy --token "$agent" --pin-file "$pins/agent.pin" --label checkpoint --id "$checkpoint_id" \
			--to "$auditor" --to-pin-file "$pins/auditor.pin"
		;;
	*) fail "no such key: $key" 'KEYS is epoch, checkpoint or both' ;;
	esac
done

keys prove --token "$agent" --pin-file "$pins/agent.pin" --role agent
keys prove --token "$verifier" --pin-file "$pins/verifier.pin" --role verifier
keys prove --token "$auditor" --pin-file "$pins/auditor.pin" --role auditor
