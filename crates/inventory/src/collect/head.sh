#!/bin/sh
# Writes an estate folder: what exists in one AWS account, one JSON file per resource, for `avouch access external --estate DIR`.
# It only reads: every call lists, gets or describes. Usage: sh collect.sh [DIR]; credentials as the AWS CLI finds them.
# A call that is denied leaves its error in the file. Environment variables and code of functions are not collected.
set -u
umask 077
export AWS_PAGER='' AWS_RETRY_MODE="${AWS_RETRY_MODE:-adaptive}" AWS_MAX_ATTEMPTS="${AWS_MAX_ATTEMPTS:-10}"
out=${1:-estate}
tab=$(printf '\t')
home=${AWS_REGION:-${AWS_DEFAULT_REGION:-us-east-1}}
count=0
failed=0

say() { printf '%s\n' "$*" >&2; }

if [ -e "$out" ] && [ -n "$(ls -A "$out" 2>/dev/null)" ]; then
  say "collect: $out is not empty; name another folder"
  exit 2
fi
mkdir -p "$out" || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir "$work/kept"

# text WORD: a JSON string.
text() {
  printf '"%s"' "$(printf '%s' "$1" | LC_ALL=C tr '\t\r\n' '   ' | LC_ALL=C tr -d '\000-\037\177' |
    LC_ALL=C sed 's/\\/\\\\/g; s/"/\\"/g')"
}

# fail: what the CLI said on its error output becomes the answer.
fail() {
  failed=$((failed + 1))
  printf '{"error": {"code": %s, "message": %s}}' "$(text "${code:-CallFailed}")" \
    "$(text "$(sed '/^[[:space:]]*$/d' "$work/error")")" >"$work/answer"
}

# code: the API's error code, when the API answered.
code_of_error() {
  code=$(LC_ALL=C sed -n 's/.*An error occurred (\([A-Za-z0-9._]*\)).*/\1/p' "$work/error" | head -n 1)
}

# ask NONE WORDS…: one call. The answer, {} where AWS says that there is none, or the error.
ask() {
  none=$1
  shift
  if aws "$@" --output json </dev/null >"$work/answer" 2>"$work/error"; then
    [ -s "$work/answer" ] || printf '{}' >"$work/answer"
    return 0
  fi
  code_of_error
  if [ -n "$code" ]; then
    case ",$none," in
    *",$code,"*)
      printf '{}' >"$work/answer"
      return 0
      ;;
    esac
  fi
  fail
  say "collect: $1 $2: ${code:-failed} (${arn:-$home})"
  return 1
}

# rows FILE WORDS…: one call whose answer is a row per line. What came before a failure is kept.
rows() {
  file=$1
  shift
  if aws "$@" --output text </dev/null >"$work/text" 2>"$work/error"; then status=0; else status=1; fi
  LC_ALL=C sed '/^$/d; /^None$/d' "$work/text" >"$file"
  [ "$status" -eq 1 ] || return 0
  code_of_error
  fail
  say "collect: $1 $2: ${code:-failed} ($region)"
  return 1
}

# pages FILE WORDS…: as rows, page by page; the first row of each names the next.
pages() {
  whole=$1
  shift
  : >"$whole"
  token=''
  while :; do
    if [ -z "$token" ]; then
      rows "$work/page" "$@" || return 1
    else
      rows "$work/page" "$@" --next-token "$token" || return 1
    fi
    sed "/^+$tab/d" "$work/page" >>"$whole"
    token=$(sed -n "s/^+$tab//p" "$work/page")
    case $token in '' | None) return 0 ;; esac
  done
}

# list OPERATION WHERE HOW FILE WORDS…: by rows or by pages; a failure is kept for the account.
list() {
  operation=$1
  place=$2
  shift 2
  "$@" || keep "$operation" "$place"
}

# keep OPERATION WHERE: the answer, for the resource of the account.
keep() {
  mkdir -p "$work/kept/$1"
  cp "$work/answer" "$work/kept/$1/$2"
}

# kept: all that was kept, as fields; per region, or once where it is global.
kept() {
  for folder in "$work/kept"/*; do
    [ -d "$folder" ] || continue
    if [ -f "$folder/global" ]; then
      cp "$folder/global" "$work/answer"
    else
      map
      for part in "$folder"/*; do
        cp "$part" "$work/answer"
        entry "${part##*/}"
      done
      mapped
    fi
    field "${folder##*/}"
  done
}

begin() { : >"$work/config"; }
map() { : >"$work/map"; }
mapped() {
  { printf '{' && cat "$work/map" && printf '}'; } >"$work/answer"
}
# member FILE KEY: the answer as a member of the object in FILE.
member() {
  if [ -s "$1" ]; then printf ',' >>"$1"; fi
  { printf '\n%s: ' "$(text "$2")" && cat "$work/answer"; } >>"$1"
}
entry() { member "$work/map" "$1"; }
field() { member "$work/config" "$1"; }

call() {
  operation=$1
  shift
  ask "$@"
  field "$operation"
}

# region_in KEY: the region that an answer names; nothing when the call failed.
region_in() {
  if grep -q '^{"error"' "$work/answer"; then return; fi
  found=$(LC_ALL=C sed -n 's/.*"'"$1"'": *"\([^"]*\)".*/\1/p' "$work/answer" | head -n 1)
  case $found in
  EU) printf 'eu-west-1' ;;
  '') printf '%s' "$home" ;;
  *) printf '%s' "$found" ;;
  esac
}

# write TYPE ARN REGION NAME
write() {
  count=$((count + 1))
  folder=$out/$account/$(printf '%s' "$1" | sed 's/::/-/g')
  mkdir -p "$folder"
  {
    printf '{"type": %s, "arn": %s,\n' "$(text "$1")" "$(text "$2")"
    printf '"account": %s, "region": %s, "name": %s,\n' "$(text "$account")" "$(text "$3")" "$(text "$4")"
    printf '"captured_at": %s,\n' "$(text "$(date -u +%Y-%m-%dT%H:%M:%SZ)")"
    printf '"config": {'
    cat "$work/config"
    printf '}}\n'
  } >"$work/file" && mv "$work/file" "$folder/$(printf '%06d' "$count").json" || {
    say "collect: cannot write to $folder"
    exit 2
  }
}

region=$home
if ! rows "$work/caller" sts get-caller-identity --query '[Account,Arn]' --region "$home"; then
  say 'collect: no credentials that work; `aws sts get-caller-identity` says why'
  exit 1
fi
IFS="$tab" read -r account caller <"$work/caller"
partition=${caller#arn:}
partition=${partition%%:*}
# Where the calls of global services and of buckets without a region of their own go.
case $partition in
aws-cn) home=cn-north-1 ;;
aws-us-gov) home=us-gov-west-1 ;;
*) home=us-east-1 ;;
esac
region=$home
