#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# man.sh PROGRAMS VERSION OUTPUT: writes slogate.1, slogate-agent.8 and slogate.yaml.5 to the folder
# OUTPUT, from the --help of the programs in the folder PROGRAMS and from daemonset/slogate.yaml.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
programs=$1 version=$2 output=$3
mkdir -p "$output"
# help_of PROGRAM [COMMAND...]; what is not for this machine runs by $emulator.
help_of() { ${emulator-} "$programs/$1" "${@:2}" --help; }

# title NAME SECTION SUMMARY
title() {
  printf '.TH %s %s "" "slogate %s" "slogate"\n.SH NAME\n%s \\- %s\n' \
    "${1^^}" "$2" "$version" "$1" "$3"
}
# Text as roff takes it: no escapes, no requests, and hyphens that can be copied.
plain() { sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^[.']/\\\\\&&/"; }
# options: the rows of "Positionals:" and "Options:" of a --help, as a list.
options() {
  awk '
    /^[A-Z][a-z]+:$/ { inside = $1 != "Subcommands:"; next }
    /^[^ ]/ || !inside || NF == 0 { if (NF) inside = 0; next }
    /^  [^ ]/ {
      row = substr($0, 3); at = match(row, /  +/)
      name = at ? substr(row, 1, at - 1) : row
      sub(/ REQUIRED/, "", name); sub(/ Excludes: .*/, "", name); sub(/,/, ", ", name)
      if (name ~ /^-h/) { skip = 1; next }
      skip = 0
      sub(/=/, " (default ", name) && name = name ")"
      print "\001" name; if (at) print substr(row, at + RLENGTH); next
    }
    !skip { sub(/^ +/, ""); print }' | plain | sed 's/^\x01\(.*\)/.TP\n.B \1/'
}

{
  title slogate 1 "ask this node's slogate-agent what workloads do to their users"
  cat <<'END'
.SH SYNOPSIS
.B slogate
[\fIOPTION\fR]... \fICOMMAND\fR [\fIARGUMENT\fR]...
.SH DESCRIPTION
Reads the API of
.BR slogate\-agent (8)
on its Unix socket. That takes root or membership of the group \fBslogate\fR; what changes something
takes root or a uid in \fBadmin_uids\fR of
.BR slogate.yaml (5).
.SH OPTIONS
They may stand behind the command as well.
END
  help_of slogate | options
  printf '.SH COMMANDS\n'
  # describe COMMAND...
  describe() {
    local help sub
    help=$(help_of slogate "$@")
    printf '.SS %s\n' "$(sed -n 's/^Usage: slogate \(.*\)/\1/p' <<<"$help" | sed 's/ \[SUBCOMMAND\]//' | plain)"
    head -n 1 <<<"$help" | sed 's/$/./' | plain
    options <<<"$help"
    for sub in $(subcommands <<<"$help"); do describe "$@" "$sub"; done
  }
  subcommands() { awk '/^[A-Z][a-z]+:$/ { inside = $1 == "Subcommands:" } inside && /^  [a-z]/ { print $1 }'; }
  for command in $(help_of slogate | subcommands); do describe "$command"; done
  cat <<'END'
.SH EXIT STATUS
.TP
.B 0
done; \fBgate\fR: pass
.TP
.B 1
failed; \fBdoctor\fR: this host cannot run slogate; \fBgate\fR: veto
.TP
.B 2
\fBgate\fR: hold
.TP
.B 3
the agent cannot be reached
.TP
.B 64
called wrongly
.SH EXAMPLES
.nf
slogate top
slogate hist /system.slice/nginx.service \-\-signal queue
slogate hist /demo/canary /demo/stable
slogate gate payment\-api \-\-wait \-\-timeout 10m
.fi
.SH FILES
.TP
.I /run/slogate/agent.sock
the socket of the agent
.SH SEE ALSO
.BR slogate\-agent (8),
.BR slogate.yaml (5)
END
} >"$output/slogate.1"

{
  title slogate-agent 8 "measure, in the kernel, what each workload does to its users"
  cat <<'END'
.SH SYNOPSIS
.B slogate\-agent
[\fIOPTION\fR]...
.SH DESCRIPTION
Loads BPF programs that measure, per cgroup, how long requests over TCP take, what waits in queues
and which connections fail; serves what they count as metrics for Prometheus, at
\fIhttp://ADDRESS:9937/metrics\fR, and by an API on a Unix socket, for
.BR slogate (1);
and judges canaries by it. One agent runs per node.
.PP
It needs Linux 6.3 or later with BTF, cgroup v2, and the capabilities CAP_BPF and CAP_PERFMON;
once it serves, it keeps CAP_BPF alone. \fBslogate doctor\fR says what is missing.
.SH OPTIONS
They go over the configuration file.
END
  help_of slogate-agent | options
  cat <<'END'
.SH SIGNALS
.TP
.B SIGHUP
reads the configuration again; a file with a mistake changes nothing. \fBlisten\fR,
\fBapi_listen\fR, \fBsocket\fR, \fBadmin_uids\fR, \fBkubernetes\fR, \fBstate_dir\fR, \fBoutcomes\fR, \fBenforce\fR,
\fBpeer_listen\fR, \fBpeer_tls\fR and \fBpeer_key_file\fR need a restart:
the log names those that have changed, and the rest of the file takes effect
.TP
.BR SIGTERM ", " SIGINT
end; the kernel goes on counting, and the next agent takes it up
.SH EXIT STATUS
.TP
.B 0
ended when asked to
.TP
.B 1
cannot start; one line says why, and what to do
.TP
.B 2
wrong arguments, or a mistake in the configuration
.SH FILES
.TP
.I /etc/slogate/slogate.yaml
the configuration:
.BR slogate.yaml (5)
.TP
.I /run/slogate/agent.sock
the API
.TP
.I /sys/fs/bpf/slogate
maps and programs, which outlive the agent
.TP
.I /var/lib/slogate
vetoes and the audit log
.SH SEE ALSO
.BR slogate (1),
.BR slogate.yaml (5)
END
} >"$output/slogate-agent.8"

{
  title slogate.yaml 5 "configuration of slogate-agent"
  cat <<'END'
.SH DESCRIPTION
YAML. Each part of the sample that is installed as \fI/etc/slogate/slogate.yaml\fR is explained below.
.SH KEYS
END
  # Sentences stand in comments that begin with one blank; everything else is the sample.
  awk '
    function end_sample() { if (sample) print ".fi\n.RE"; sample = 0 }
    /^$/ { end_sample(); print ".PP"; next }
    /^# [^ ]/ { end_sample(); print substr($0, 3); next }
    { if (!sample) print ".PP\n.RS 4\n.nf"; sample = 1; sub(/^#/, ""); print }
    END { end_sample() }' "$root/daemonset/slogate.yaml" |
    sed -E '/^\.(fi|nf|RE|PP|RS 4)$/!{ s/\\/\\e/g; s/-/\\-/g; }'
  cat <<'END'
.SH SEE ALSO
.BR slogate\-agent (8)
END
} >"$output/slogate.yaml.5"
