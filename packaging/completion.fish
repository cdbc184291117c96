# SPDX-License-Identifier: Apache-2.0
# Completes slogate for fish. What there is to complete is read from --help, so it is never out of date.
function __slogate_complete
    set -l words (commandline -opc)
    set -l commands
    for word in $words[2..]
        string match -q -- '-*' $word; or set -a commands $word
    end
    begin
        command slogate $commands --help 2>/dev/null; or command slogate $commands[1] --help 2>/dev/null
        command slogate --help 2>/dev/null | string match -v -r '^  [a-z]'
    end | string match -r -g '^  (-\S+|[a-z]\S+)  ' | string split ',' | sort -u
end
complete -c slogate -f -a '(__slogate_complete)'
