# SPDX-License-Identifier: Apache-2.0
# What there is to complete is read from --help, so it is never out of date.

# The commands and options of a command, one a line.
function __slogate_help
    command $argv --help 2>/dev/null | awk '
        /^[A-Z][a-z]+:/ { section = $1; next }
        section == "Options:" && /^  -/ { count = split($1, names, ","); for (i = 1; i <= count; ++i) print names[i] }
        section == "Subcommands:" && /^  [a-z]/ { print $1 }'
end

function __slogate_complete
    set -l words (commandline -opc)
    set -l given $words[1]
    for word in $words[2..]
        # A word belongs to the command when the help of what stands before names it.
        string match -q -- '-*' $word; and continue
        __slogate_help $given | string match -q -- $word; and set -a given $word
    end
    __slogate_help $given
    # Options of the whole program may stand behind a command, too.
    __slogate_help $words[1] | string match -- '-*'
end
complete -c slogate -f -a '(__slogate_complete)'
complete -c slogate-agent -a '(__slogate_complete)'
