#!/bin/sh
# Writes a summary into the merge request, always into the same note: note.sh SUMMARY.md
# Needs GATE_TOKEN, a project access token with the scope api and the role Reporter, as a masked variable.
set -eu

notes="$CI_API_V4_URL/projects/$CI_PROJECT_ID/merge_requests/$CI_MERGE_REQUEST_IID/notes"
mark='<!-- lblab gate -->'
body=$(mktemp)
trap 'rm -f "$body"' EXIT
{ echo "$mark"; cat "$1"; } > "$body"

api() { curl --fail --silent --show-error --header "PRIVATE-TOKEN: $GATE_TOKEN" "$@"; }

mine=$(api "$notes?per_page=100" | python3 -c '
import json, sys
print(next((note["id"] for note in json.load(sys.stdin) if note["body"].startswith(sys.argv[1])), ""))' "$mark")
if [ -n "$mine" ]; then
    api --output /dev/null --request PUT --data-urlencode "body@$body" "$notes/$mine"
else
    api --output /dev/null --request POST --data-urlencode "body@$body" "$notes"
fi
