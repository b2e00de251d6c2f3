
# The organisation: accounts with their place in the tree, service and resource control policies with their targets.
say organization
region=$home
arn=''
partial=''
part() { partial="${partial:+$partial; }$1"; }

# policies FILTER FOLDER
policies() {
  if ! rows "$work/policies" organizations list-policies --filter "$1" --query 'Policies[].[Id,Name]' --region "$home"; then
    part "$1: list-policies ${code:-failed}"
    return
  fi
  while IFS="$tab" read -r id name; do
    if ! ask '' organizations describe-policy --policy-id "$id" --query Policy.Content --region "$home"; then
      part "$id: describe-policy ${code:-failed}"
      continue
    fi
    mv "$work/answer" "$work/document"
    if ! ask '' organizations list-targets-for-policy --policy-id "$id" --query 'Targets[].TargetId' --region "$home"; then
      part "$id: list-targets-for-policy ${code:-failed}"
      continue
    fi
    mkdir -p "$out/$2"
    {
      printf '{"id": %s, "name": %s,\n"targets": ' "$(text "$id")" "$(text "$name")"
      cat "$work/answer"
      printf ',\n"document": '
      cat "$work/document"
      printf '}\n'
    } >"$out/$2/$id.json"
  done <"$work/policies"
}

organization() {
  if ! rows "$work/organization" organizations describe-organization \
    --query 'Organization.[Id,MasterAccountId]' --region "$home"; then
    # Without an organisation there is nothing to read; with one that may not be read, the account says so.
    [ "$code" = AWSOrganizationsNotInUseException ] || keep DescribeOrganization global
    return
  fi
  IFS="$tab" read -r organization management <"$work/organization"
  if ! rows "$work/roots" organizations list-roots --query 'Roots[].[Id]' --region "$home"; then
    keep ListRoots global
    return
  fi
  read -r root <"$work/roots"
  map
  found=0
  printf '%s\t%s\n' "$root" "$organization/$root/" >"$work/queue"
  while [ -s "$work/queue" ]; do
    IFS="$tab" read -r parent path <"$work/queue"
    sed 1d "$work/queue" >"$work/rest"
    if rows "$work/accounts" organizations list-accounts-for-parent --parent-id "$parent" \
      --query 'Accounts[].[Id,Name]' --region "$home"; then
      while IFS="$tab" read -r id name; do
        [ "$found" -gt 0 ] && printf ',' >>"$work/map"
        found=$((found + 1))
        printf '\n{"id": %s, "name": %s, "path": %s}' "$(text "$id")" "$(text "$name")" "$(text "$path")" >>"$work/map"
      done <"$work/accounts"
    else
      part "$parent: list-accounts-for-parent ${code:-failed}"
    fi
    if rows "$work/units" organizations list-organizational-units-for-parent --parent-id "$parent" \
      --query 'OrganizationalUnits[].[Id]' --region "$home"; then
      while read -r id; do printf '%s\t%s\n' "$id" "$path$id/" >>"$work/rest"; done <"$work/units"
    else
      part "$parent: list-organizational-units-for-parent ${code:-failed}"
    fi
    mv "$work/rest" "$work/queue"
  done
  if rows "$work/accounts" organizations list-accounts --query 'Accounts[].[Id]' --region "$home"; then
    listed=$(wc -l <"$work/accounts")
    [ "$listed" -eq "$found" ] || part "list-accounts has $((listed)) accounts, the tree has $found"
  else
    part "list-accounts ${code:-failed}"
  fi
  policies SERVICE_CONTROL_POLICY scps
  policies RESOURCE_CONTROL_POLICY rcps
  {
    printf '{"id": %s, "root": %s, ' "$(text "$organization")" "$(text "$root")"
    printf '"management_account": %s,\n"accounts": [' "$(text "$management")"
    cat "$work/map"
    printf '],\n"partial": '
    if [ -n "$partial" ]; then text "$partial"; else printf 'null'; fi
    printf '}\n'
  } >"$out/organization.json"
}
organization
