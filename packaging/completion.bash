# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What there is to complete is read from --help, so it is never out of date.

# __slogate_help PROGRAM [COMMAND...]: its commands and options, one a line.
__slogate_help() {
  "$@" --help 2>/dev/null | awk '
    /^[A-Z][a-z]+:/ { section = $1; next }
    section == "Options:" && /^  -/ { count = split($1, names, ","); for (i = 1; i <= count; ++i) print names[i] }
    section == "Subcommands:" && /^  [a-z]/ { print $1 }'
}

# __slogate_column COMMAND: the names in the first column of a table of the agent, if one answers.
__slogate_column() { slogate "$1" 2>/dev/null | awk 'NR > 1 && NF > 1 { print $1 }'; }

_slogate() {
  local program=$1 current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local commands=() word words='' index
  COMPREPLY=()
  case $previous in
    --socket | --config | --cgroup-root | --pin-dir | --state-dir)
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
      ;;
    -o) words='table json' ;;
    --signal) words=$(slogate hist --help 2>/dev/null | sed -n 's/.*Which latency: \([^;]*\);.*/\1/p' | tr , ' ') ;;
    --listen | --api-listen | --interval | --timeout | --entries | -n) return ;;
  esac
  if [ -z "$words" ]; then
    # A word belongs to the command when the help of what stands before names it.
    for ((index = 1; index < COMP_CWORD; ++index)); do
      word=${COMP_WORDS[index]}
      [[ $word != -* ]] || continue
      __slogate_help "$program" "${commands[@]}" | grep -qxF -- "$word" && commands+=("$word")
    done
    words=$(__slogate_help "$program" "${commands[@]}")
    # Options of the whole program may stand behind a command, too.
    [ ${#commands[@]} -eq 0 ] || words+=" $(__slogate_help "$program" | grep '^-')"
    case ${commands[*]} in
      gate | verdict | reset | 'breaker open' | 'breaker close') words+=" $(__slogate_column slos)" ;;
      maps | 'maps resize') words+=" $(__slogate_column maps)" ;;
      hist | cgroups) words+=" $(__slogate_column cgroups)" ;;
    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current" | sort -u)
}
complete -F _slogate slogate slogate-agent
