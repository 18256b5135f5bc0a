# The agent of one log: has epoch secrets issued and checkpoints signed, and gets nothing back.
# setup.sh fills in what stands between @ signs.

path "@MOUNT@/datakey/plaintext/@EPOCH_KEY@" {
  capabilities = ["update"]

  # Only for its own log: this is how the base64 of every context of that log begins.
  # No other parameter: not the size, not an older version of the key.
  allowed_parameters = {
    "context" = ["@CONTEXT_PREFIX@*"]
  }
}

path "@MOUNT@/sign/@CHECKPOINT_KEY@" {
  capabilities = ["update"]

  # Only with the versions of the key that stand here, which its caller must name: another one, older or newer,
  # signs for this log when somebody with the right to write this policy says so. Versions are text: as a number
  # they would match nothing. No batch: its items name versions of their own.
  required_parameters = ["key_version"]
  allowed_parameters = {
    "key_version"          = [@CHECKPOINT_VERSIONS@]
    "input"                = []
    "hash_algorithm"       = []
    "marshaling_algorithm" = []
  }
}

# Properties, versions and public halves: no secret is in them.
path "@MOUNT@/keys/@EPOCH_KEY@" {
  capabilities = ["read"]
}

path "@MOUNT@/keys/@CHECKPOINT_KEY@" {
  capabilities = ["read"]
}

# Refused by default; said so that no other policy on the same token can allow it.
path "@MOUNT@/decrypt/@EPOCH_KEY@" {
  capabilities = ["deny"]
}

path "@MOUNT@/rewrap/@EPOCH_KEY@" {
  capabilities = ["deny"]
}

path "@MOUNT@/encrypt/@EPOCH_KEY@" {
  capabilities = ["deny"]
}

path "@MOUNT@/export/+/@EPOCH_KEY@" {
  capabilities = ["deny"]
}

path "@MOUNT@/export/+/@EPOCH_KEY@/*" {
  capabilities = ["deny"]
}

path "@MOUNT@/export/+/@CHECKPOINT_KEY@" {
  capabilities = ["deny"]
}

path "@MOUNT@/export/+/@CHECKPOINT_KEY@/*" {
  capabilities = ["deny"]
}

path "@MOUNT@/backup/@EPOCH_KEY@" {
  capabilities = ["deny"]
}

path "@MOUNT@/backup/@CHECKPOINT_KEY@" {
  capabilities = ["deny"]
}

path "@MOUNT@/keys/@EPOCH_KEY@/*" {
  capabilities = ["deny"]
}

path "@MOUNT@/keys/@CHECKPOINT_KEY@/*" {
  capabilities = ["deny"]
}
