#compdef slogate slogate-agent
# SPDX-License-Identifier: Apache-2.0
# What there is to complete is read from --help, so it is never out of date.

# PROGRAM [COMMAND...]: its commands and options, one a line.
__slogate_help() {
  "$@" --help 2>/dev/null | awk '
    /^[A-Z][a-z]+:/ { section = $1; next }
    section == "Options:" && /^  -/ { count = split($1, names, ","); for (i = 1; i <= count; ++i) print names[i] }
    section == "Subcommands:" && /^  [a-z]/ { print $1 }'
}

_slogate() {
  local word
  local -a given
  case $words[CURRENT-1] in
    --socket | --config | --cgroup-root | --pin-dir | --state-dir) _files && return ;;
    -o) compadd -- table json && return ;;
    --listen | --api-listen | --interval | --timeout | --entries | --signal | -n) return ;;
  esac
  given=($words[1])
  for word in ${words[2,CURRENT-1]}; do
    # A word belongs to the command when the help of what stands before names it.
    [[ $word != -* ]] && __slogate_help $given | grep -qxF -- $word && given+=($word)
  done
  # Options of the whole program may stand behind a command, too.
  compadd -- ${(fu)"$(__slogate_help $given; __slogate_help $words[1] | grep '^-')"}
}
_slogate
