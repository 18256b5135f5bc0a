# An auditor: reads the public checkpoint key, and that is all.
# setup.sh fills in what stands between @ signs.

path "@MOUNT@/keys/@CHECKPOINT_KEY@" {
  capabilities = ["read"]
}
