# What stands around a tool's command line on REANA; see stemma/engines/reana/wrapping.py.
#
# Sourced by each job, which then defines: J its key, G the word that stands for a slash, given() what it was given,
# tool() its command line, ok() what its exit codes mean, and cp() as main.
# H, T the HOME and TMPDIR that the engine names; O the job's own folder, P the same without links; W, Q the workspace;
# K where the job's files are kept; I S E L standard input, output, error and time limit; C whether the engine copies inputs into O;
# X whether anything went wrong that is ours; R what fix() and sub() give. Of late files: B their folder in a run that has some,
# F those of this job (a line each: identity, place), M how many seconds it waits, A the places of those that have come.

H=$HOME T=${TMPDIR:-$G} X=0 I= S= E= L= C= B= F= A= N='
'
bad() { printf 'stemma: %s\n' "$1" >&2; X=1; }
sub() {
  s=$1 R=
  while :; do
    case $s in *"$2"*) R=$R${s%%"$2"*}$3 s=${s#*"$2"};; *) break;; esac
  done
  R=$R$s
}
fix() {
  R=$1
  case $R in *"$H"*|*"$T"*|*"$G"*) sub "$R" "$H" "$O"; sub "$R" "$T" "$O.tmp"; sub "$R" "$G" /;; esac
}
names() {
  for a do
    fix "${a#?}"
    case $a in i*) I=$R;; o*) S=$R;; e*) E=$R;; l*) L=$R;; c*) C=1;; esac
  done
  for f in * .[!.]* ..?*; do
    if [ -z "$C" ] && [ -f "./$f" ] && ! [ -L "./$f" ]; then bad "the text of '$f' did not arrive"; fi
  done
}
need() {
  z=
  for a do
    fix "$a"
    case $a in
      z*) z=${a#z};;
      *) if ! [ -e "$R" ]; then bad "the input $R did not arrive"
         elif stands "$R"; then bad "the input $R has not arrived"
         elif [ -n "$z" ] && ! came "$R" && [ "$z" != `wc -c <"$R"` ]; then bad "the input $R arrived in part"; fi
         z=;;
    esac
  done
}
put() {
  n= c= p= u=
  for a do case $a in n*) fix "${a#?}"; n=$R;; c*) c=${a#?};; p*) p=1;; u*) u=1;; esac; done
  [ "$c" != xnullx ] || [ -n "$p" ] || return 0
  case $u$c in '1x{'*'"class": "File"'*|'1x{'*'"class": "Directory"'*|'1x[{'*'"class": "File"'*|'1x[{'*'"class": "Directory"'*)
    bad "'$n' is to be a file that an expression gives, which REANA does not bring";; esac
  case $n in ''|/*|..|../*|*/../*|*/..) bad "a file cannot be laid down under the name '$n'"; return 0;; esac
  fix "$c"
  c=${R#x} c=${c%x}
  case $n in */*) mkdir -p "./${n%/*}" || X=1;; esac
  if [ -e "./$n" ] || [ -L "./$n" ]; then bad "two files are to be laid down as '$n'"; fi
  printf %s "$c" >"./$n" || bad "the file '$n' could not be written"
}
folders() { for a do mkdir -p "./$a" || bad "the folder '$a' could not be made"; done; }
run() {
  case "$*" in *"$H"*|*"$T"*|*"$G"*) for a do shift; fix "$a"; set -- "$@" "$R"; done;; esac
  for a do
    case $a in "$W"/cwl/docker_stagedir/*)
      if ! [ -e "$a" ] && ! [ -e "`ls -d "${a%/*}"/* 2>/dev/null | head -n 1`" ]; then
        bad "the input $a did not arrive"; exit 1
      elif stands "$a"; then bad "the input $a has not arrived"; exit 1; fi;;
    esac
  done
  exec "$@"
}
now() { t=`date +%s.%N`; case $t in *[!0-9.]*|*.) t=`date +%s`;; esac; }
keep() { ln "$1" "$2" 2>/dev/null || command cp "$1" "$2" || bad "the file '$2' could not be kept"; }
digest() { d=`"$1" <"$2" 2>/dev/null`; d=${d%% *}; d=${d:--}; }
file() {
  digest sha256sum "./$1"; a=$d
  digest sha1sum "./$1"
  z=`wc -c <"./$1"` || bad "the file '$1' could not be read"
  printf 'stemma:file %s %s %d %s\n' "$a" "$d" "$z" "$1"
}
link() {
  g=`readlink -f "./$1" 2>/dev/null` || g=
  case $g in
    "$P"/*) ;;
    "$Q"/*) if [ -f "./$1" ]; then rm "./$1"; keep "$g" "./$1"; fi;;
    *) g=;;
  esac
  if [ -n "$g" ] && [ -f "./$1" ]; then
    file "$1"; keep "$g" "$K/$1"
  elif [ -n "$g" ] && [ -d "./$1" ] && case $P/$1/ in "$g"/*) false;; esac; then
    dir "$1"
  else
    printf 'stemma:link %s %s\n' "$1" "`readlink "./$1"`"
  fi
}
dir() { printf 'stemma:folder %s\n' "$1"; mkdir -p "$K/$1" || X=1; walk "$1/"; }
walk() {
  for f in "$1"* "$1".[!.]* "$1"..?*; do
    case $f in *"$N"*) bad "the name of an output has a line break in it"; continue;; esac
    if [ -L "./$f" ]; then link "$f"
    elif [ -d "./$f" ]; then dir "$f"
    elif [ -f "./$f" ]; then file "$f"; keep "./$f" "$K/$f"; fi
  done
}
limited() {
  exec 3<&0
  tool <&3 3<&- & p=$!
  (sleep "$L"; printf 'stemma: the tool is over its time limit of %s s\n' "$L" >>"$K.stderr"; kill -9 $p) \
    </dev/null >/dev/null 2>&1 & w=$!
  wait $p
  e=$?
  kill $w 2>/dev/null
  return $e
}
open() {
  case $1 in '') return 0;; /*|*..*) bad "'$1' is no place for an output"; return 0;; */*) mkdir -p "./${1%/*}";; esac
  : >"./$1" || bad "'$1' could not be opened"
}
# What lies in the place of a late file is as long as 'stemma:late ', its identity and the end of the line.
stands() {
  [ -n "$B" ] && [ -f "$1" ] && ! came "$1" && [ `wc -c <"$1"` -eq 49 ] || return 1
  IFS= read -r l <"$1"
  case $l in 'stemma:late '*) ;; *) return 1;; esac
  u=${l#'stemma:late '} n=
  while IFS= read -r l; do case $l in "$u "*) n=${l#* };; esac; done <"$B/files"
  [ -n "$n" ]
}
came() { case $N$A in *"$N$1$N"*) return 0;; esac; return 1; }
small() {
  if command -v find >/dev/null; then find "$1" -type f -size 49c; return; fi
  for f in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    if [ -L "$f" ]; then :; elif [ -d "$f" ]; then small "$f"; elif [ -f "$f" ]; then printf '%s\n' "$f"; fi
  done
}
look() {
  while IFS= read -r f; do
    case $f in ?*) if stands "$f"; then F=$F$u' '$f$N; fi;; esac
  done <<STEMMA-FILES
`small "$1"`
STEMMA-FILES
}
staged() {
  V=
  while IFS= read -r d; do
    case $d in "$W"/cwl/docker_stagedir/stg*) d=${d#"$W"/cwl/docker_stagedir/} d=${d%%/*};; *) continue;; esac
    case $V in *" $d "*) ;; *) V="$V $d "; if [ -d "$W/cwl/docker_stagedir/$d" ]; then look "$W/cwl/docker_stagedir/$d"; fi;; esac
  done <<STEMMA-WORDS
`tr '\0 ' '\n\n' <"/proc/$$/cmdline"`
STEMMA-WORDS
}
laid() {
  for f in "$O"/* "$O"/.[!.]* "$O"/..?*; do
    if ! [ -L "$f" ]; then continue
    elif [ -d "$f" ]; then
      if [ -n "`small "$f/."`" ]; then g=`readlink "$f"` && rm "$f" && command cp -R "$g" "$f" || bad "the folder '$f' could not be laid down"; fi
    elif stands "$f"; then F=$F$u' '$f$N; fi
  done
  look "$O"
}
missing() {
  D=
  while IFS=' ' read -r u f; do
    [ -n "$u" ] || continue
    if [ -e "$B/$u.refused" ] && IFS= read -r l <"$B/$u.refused"; then bad "$l"; return 1; fi
    if ! { [ -e "$B/$u.here" ] && IFS= read -r l <"$B/$u.here"; }; then D="$D $u"; fi
  done <<STEMMA-LATE
$F
STEMMA-LATE
}
await() {
  p=0 w=1
  while missing || return 1; [ -n "$D" ]; do
    if [ $p = 0 ]; then
      mkdir -p "$B/waits" && printf '%s\n%s\nstemma:end\n' "$J" "$D" >"$B/waits/${K##*/}"
    fi
    if [ $p -ge "$M" ]; then
      for u in $D; do
        while IFS= read -r l; do
          case $l in "$u "*) printf '\nstemma:overdue %s\n' "$u"; bad "the file '${l#* }' has not arrived within $M s";; esac
        done <"$B/files"
      done
      return 1
    fi
    sleep $w || return 1
    p=$((p + w))
    if [ $p -gt 60 ]; then w=5; fi
  done
}
arrive() {
  while IFS=' ' read -r u f; do
    [ -n "$u" ] || continue
    IFS= read -r z <"$B/$u.here"
    if [ -L "$f" ]; then rm "$f" && ln -s "$B/$u" "$f"; else rm -f "$f" && command cp "$B/$u" "$f"; fi
    if [ "$z" != "`wc -c <"$f"`" ]; then bad "the input $f arrived in part"; fi
    A=$A$f$N
  done <<STEMMA-LATE
$F
STEMMA-LATE
}
late() {
  if ! [ -e "$W/stemma/late/limit" ]; then return 0; fi
  B=$W/stemma/late
  IFS= read -r M <"$B/limit"
  [ -r "/proc/$$/cmdline" ] || { bad "it cannot be told which files this job has to wait for"; return 1; }
  staged
  laid
  if [ -n "$F" ]; then await && arrive; fi
}
words() { tail -c 1000000 "$1" 2>/dev/null || cat "$1"; }
ok() { return "$1"; }
main() {
  for O do :; done
  cd "$O" && P=`pwd -P` || return 1
  W=${H%/cwl/outdir/*} K=`printf %s "$J" | tr -c A-Za-z0-9._- _`
  Q=`cd "$W" && pwd -P`
  K=`printf %.150s "$K"`-`printf %s "$J" | cksum` K=$W/stemma/${K%% *}
  mkdir "$O.tmp" || { bad "this job was begun before"; return 1; }
  mkdir -p "$K" || return 1
  HOME=$O TMPDIR=$O.tmp
  p=`tr '\0' '\n' <"/proc/$$/environ" 2>/dev/null | while IFS= read -r l; do
    case $l in PATH=*) printf %s "${l#?????}";; esac; done`
  PATH=${p:-$PATH}
  export HOME TMPDIR PATH
  late || return 1
  given
  case $L in 0) L=;; *[!0-9]*) bad "'$L' is no time limit";; esac
  case $I in ''|/*) ;; *) bad "'$I' is no place for standard input";; esac
  open "$S"; open "$E"
  [ $X = 0 ] || return 1
  now; b=$t
  ( exec <"${I:-/dev/null}" || exit 1
    if [ -n "$S" ]; then exec >"./$S" || exit 1; else exec >"$K.stdout" || exit 1; fi
    if [ -n "$E" ]; then exec 2>"./$E" || exit 1; else exec 2>"$K.stderr" || exit 1; fi
    if [ -n "$L" ]; then limited; else tool; fi )
  e=$?
  now
  [ -n "$S" ] || words "$K.stdout"
  if [ -s "$K.stderr" ]; then printf '\nstemma:stderr\n'; words "$K.stderr"; fi
  { printf '\nstemma:begin %s\nstemma:exit %d %s %s\n' "$J" $e "$b" "$t"
    walk ''
    [ $X = 0 ] && printf 'stemma:end %s\n' "$J"
  } >"$K.marker"
  cat "$K.marker" || X=1
  rm -rf "$O.tmp"
  ok $e || return $?
  return $X
}
