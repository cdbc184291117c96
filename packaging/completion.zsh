#compdef slogate slogate-agent
# SPDX-License-Identifier: Apache-2.0
autoload -U +X bashcompinit && bashcompinit
source /usr/share/bash-completion/completions/slogate
