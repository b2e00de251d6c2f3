
say "collect: $count resources in $out; $failed calls failed, each is named in its file"
