"""The command words of Unix and Windows by kind: what has to follow one for it to be a command.

Many are ordinary words, too (cat, find, more, sort, type, host, who): only a command position and plausible arguments
make a command of them.
"""

__all__ = ["CARRIERS", "INTERPRETERS", "KINDS", "PLAIN_LANGUAGE", "WORDS"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BY_KIND = {
    # No word of any language: telling in a command position even without arguments.
    "sharp": """
whoami uname telnetd reboot shutdown poweroff ifconfig ipconfig netstat systeminfo tasklist hostname getent lsof lsblk
printenv phpinfo nslookup lscpu ps pwd chmod chown chgrp mkdir rmdir mknod mkfifo crontab useradd userdel usermod
adduser groupadd visudo sudo su iptables sysctl systemctl uptime dmesg base64 base32 xxd hexdump gunzip bunzip2 unzip
certutil bitsadmin mshta regsvr32 rundll32 wmic cscript wscript schtasks taskkill msiexec icacls vssadmin wevtutil
attrib findstr netsh tracert traceroute nmap arp route busybox setenv unset xargs nohup chroot insmod lsmod mount
umount mysqldump psql sqlite3 apt-get dpkg rpm tcpdump socat ncat openssl lwp-download lwp-request tftp rcp xcopy
robocopy quser qwinsta dsquery nltest fdisk gzip egrep fgrep chattr pcalua forfiles installutil regasm regsvcs msbuild
odbcconf cmstp wbadmin bcdedit fsutil newgrp dnsdomainname domainname nproc lspci lsusb vmstat iostat mpstat pidstat
blkid findmnt lslocks hostnamectl timedatectl loginctl localectl journalctl initctl runlevel telinit chkconfig logname
stty pstree pgrep pidof htop getfacl setfacl getcap setcap capsh iwconfig ethtool nmcli arping tcptraceroute hping3
masscan mtr chpasswd chsh chfn groupdel groupmod userdel vipw pkexec readelf objdump ldd ltrace gcore zcat zgrep zless
bzip2 bzcat xzcat unxz unrar 7z 7za swapon swapoff mkfs mkswap losetup sfdisk modprobe rmmod modinfo depmod nsenter
unshare aptitude yum dnf apk pacman zypper xterm rxvt uxterm gnome-terminal konsole redis-cli mongosh mysqladmin
pg_dump ssh-keygen ssh-keyscan ssh-agent ssh-add nft ip6tables iptables-save ufw firewall-cmd getenforce setenforce
sestatus htpasswd apachectl apache2ctl readlink realpath mktemp slocate mlocate updatedb atq atrm taskset chrt ulimit
umask pushd popd unalias lsattr ldconfig getconf uuidgen lastlog lastb toybox smbclient rpcclient nmblookup showmount
rpcinfo ldapsearch snmpwalk kdig lftp ncftp rlogin nbtstat qprocess qappsrv rwinsta logoff regedit regini driverquery
gpresult gpupdate secedit auditpol bootcfg diskpart diskshadow cacls takeown assoc ftype subst chkdsk makecab extrac32
esentutl mklink openfiles pathping getmac w32tm typeperf logman eventcreate msinfo32 powershell_ise csc vbc cmdkey
certreq ieexec mavinject msdt runas psexec pslist pskill procdump accesschk syncappvpublishingserver sqlcmd osql wsl
winrm winrs csvde ldifde ntdsutil klist setspn setx doskey fltmc regedt32 winver dotnet-dump tskill xclip xdotool
scutil dscl sw_vers launchctl ioreg osascript dsconfigad networksetup system_profiler ipcs ipcrm lsns lsmem lslogins
pmap strace renice sysdig lsinitramfs rcctl pfctl kldload kldstat sockstat jls ztcp nsupdate sslscan nikto sqlmap
hydra msfconsole msfvenom linpeas pspy64 ipcalc
""",
    # Telling without arguments only directly behind a separator.
    "term": "ls id dir env ver df du ss ip vol w last lp nm od hd wc xz arch tty",
    # They read or change files: a path, an option or a wildcard follows.
    "file": """
cat tac nl more less head tail type sort uniq od strings rev cut paste diff cp mv rm del erase copy move ren touch
find locate grep sed awk gawk mawk tee tar zip vi vim nano ln stat file wc dd rd md install cmp comm fold split ed fmt
pr shred truncate cpio ar nawk join read whereis which dog tr make source expand unexpand column dirname basename
egrep fgrep bat view ex emacs pico csplit tsort look rename replace patch rar unlink sync tree cksum md5sum sha1sum
sha256sum sum iconv jq dos2unix expand print compact cipher fc comp hh mdir
""",
    # They wait or knock at another's door: a number, an address or an option follows.
    "wait": "sleep usleep ping ping6 timeout waitfor fping choice",
    # They fetch or connect: an address follows.
    "net": """
wget curl nc netcat telnet ftp ftpget ftpput sftp ssh scp rsync dig host fetch lynx links w3m aria2c axel whois finger
drill rsh rexec wget2 http httpie curlie elinks
""",
    # They run what follows.
    "shell": """
sh bash dash ash zsh ksh csh tcsh fish rbash pwsh powershell cmd python python2 python3 perl ruby php perl5 mksh node
nodejs lua gcc cc java tclsh pip pip3 npm gem go exec eval env script expect gdb php-cgi irb jruby groovy rscript
lua5.1 luajit php7 php8 pypy bun deno ts-node julia scala jrunscript jshell guile racket octave ghc runghc ocaml swift
screen tmux
""",
    "echo": "echo print printf expr",
    # Only with the very words that follow in attacks.
    "phrase": """
net net1 reg sc at start kill reboot shutdown halt poweroff history export set who finger mail sendmail killall pkill
call true false test nice ionice stdbuf setsid strace doas builtin command time trap alias declare typeset compgen
exit yes wall write mesg users groups free top atop sar watch service jobs hash bind shopt dirs pinky date cal logger
patch help local readonly let wait times umask disown caller suspend bg fg pkg brew port snap apt docker podman
kubectl git mysql mongo gpg explorer notepad calc mspaint control label defrag path title cls rem tee seq factor bc dc
size passwd install query locale enable lsblk halt init
""",
    # PowerShell's verbs, a hyphen in them.
    "cmdlet": """
iex iwr irm invoke-expression invoke-webrequest invoke-restmethod invoke-command start-process get-process get-content
get-childitem gci get-service get-wmiobject new-object start-bitstransfer set-executionpolicy add-type write-host
start-sleep get-computerinfo get-netipaddress get-localuser resolve-dnsname test-connection test-netconnection gwmi gc
""",
}
KINDS: dict[str, str] = {word: kind for kind, words in reversed(_BY_KIND.items()) for word in words.split()}
WORDS = frozenset(KINDS)
CARRIERS = _words(
    """
builtin busybox command doas env eval exec ionice nice nohup setsid stdbuf strace sudo time timeout trap xargs watch
toybox unshare chroot nsenter taskset chrt ltrace pkexec runas script
"""
)
"""They run the command that follows them."""
INTERPRETERS = _words(
    """
bash sh dash ash zsh ksh mksh csh tcsh fish python python2 python3 pypy perl perl5 ruby irb php php7 php8 php-cgi node
nodejs deno bun lua lua5.1 luajit tclsh script expect exec eval env jrunscript groovy rscript julia awk gawk octave
ocaml racket guile scala swift jshell runghc ghc osascript ts-node screen tmux
"""
)
"""They run code that is given on the command line."""
PLAIN_LANGUAGE = _words(
    """
arch at bat bind cal call cmp column comm command compact control copy cut date declare dig dirs disown dog ed enable
env erase expand expect explorer export expr exec eval fetch fg file find finger fold free fish go groups halt hash
head help history host http id info init install java jobs join julia kill label last less let links local locale
locate log look mail make mesg mongo more mount mouse move nice node notepad open paint paste patch path php ping port
print printf python query racket rar read readonly rename replace reset rev route ruby scala screen script sed seq
service set shred size sleep snap sort source split start stat sum suspend swift sync tar tee test time times title
top touch tree trap truncate type uniq units users view wait wall watch which who write yes zip octave brew docker git
mysql swift groovy lua perl bun deno fc gem npm pip cc gcc gdb cls w du df ip ss ps
"""
)
"""Words of prose, and names of what developers use every day: an option alone makes no attack of them."""
