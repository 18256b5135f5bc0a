# A verifier: recovers epoch secrets and reads the public checkpoint key. It can neither issue nor sign.
# setup.sh fills in what stands between @ signs.

path "@MOUNT@/decrypt/@EPOCH_KEY@" {
  capabilities = ["update"]
}

path "@MOUNT@/keys/@CHECKPOINT_KEY@" {
  capabilities = ["read"]
}

# Refused by default; said so that no other policy on the same token can allow it.
path "@MOUNT@/sign/@CHECKPOINT_KEY@" {
  capabilities = ["deny"]
}

path "@MOUNT@/sign/@CHECKPOINT_KEY@/*" {
  capabilities = ["deny"]
}

path "@MOUNT@/datakey/+/@EPOCH_KEY@" {
  capabilities = ["deny"]
}

path "@MOUNT@/encrypt/@EPOCH_KEY@" {
  capabilities = ["deny"]
}
