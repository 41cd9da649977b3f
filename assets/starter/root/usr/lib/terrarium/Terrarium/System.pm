package Terrarium::System;
# The kernel's own doors, by number: no program is started for what one call does. The numbers are those of 32-bit x86
# (arch/x86/entry/syscalls/syscall_32.tbl, include/uapi).
use strict;
use warnings;

my %call = (
    prctl => 172, sync => 36, mount => 21, umount2 => 52, setsid => 66, sethostname => 74, delete_module => 129,
    clock_settime => 264, clock_gettime => 265, statfs64 => 268, finit_module => 350,
);
my ($clock_realtime, $clock_monotonic) = (0, 1);
my ($nonblock, $read_only_mount, $no_atime) = (0x800, 1, 1024);

sub sync_all { syscall $call{sync}; return }
# This process ends with the one that started it. PR_SET_PDEATHSIG, SIGTERM.
sub end_with_parent { syscall $call{prctl}, 1, 15, 0, 0, 0; return }
sub set_session { syscall $call{setsid}; return }

# mount(device, place, type, { read_only }, data): empty string, or what went wrong.
sub mount {
    my ($device, $place, $type, $how, $data) = @_;
    my $flags = $no_atime | ($how->{read_only} ? $read_only_mount : 0);
    $data = "" unless defined $data;
    return syscall($call{mount}, $device, $place, $type, $flags, $data) == 0 ? "" : "$!";
}

sub unmount { my ($place) = @_; return syscall($call{umount2}, $place, 0) == 0 ? "" : "$!" }

sub set_hostname { my ($name) = @_; return syscall($call{sethostname}, $name, length $name) == 0 ? "" : "$!" }

sub load_module {
    my ($path) = @_;
    # The kernel would read the whole file before it says that it has the module.
    return "" if $path =~ m{([^/]+)\.ko\z} && -e "/sys/module/$1";
    open(my $file, "<", $path) or return "$path: $!";
    my $none = "";
    return "" if syscall($call{finit_module}, fileno($file), $none, 0) == 0;
    my $error = "$!";
    return 0 + $! == 17 ? "" : "$path: $error"; # EEXIST
}

# Fails while the driver is in use.
sub unload_module {
    my ($name) = @_;
    return "" if syscall($call{delete_module}, $name, $nonblock) == 0;
    return 0 + $! == 2 ? "" : "$name: $!"; # ENOENT: not loaded
}

# Milliseconds since an arbitrary moment, with fractions.
sub monotonic_ms {
    my $time = "\0" x 8;
    syscall $call{clock_gettime}, $clock_monotonic, $time;
    my ($seconds, $nanoseconds) = unpack "l2", $time;
    return $seconds * 1000 + $nanoseconds / 1e6;
}

# Nanoseconds since 1970, as decimal text: it does not fit a number of this perl exactly.
sub time_ns {
    my $time = "\0" x 8;
    syscall $call{clock_gettime}, $clock_realtime, $time;
    my ($seconds, $nanoseconds) = unpack "l2", $time;
    return sprintf "%d%09d", $seconds, $nanoseconds;
}

sub set_time {
    my ($seconds, $nanoseconds) = @_;
    my $time = pack "l2", $seconds, $nanoseconds;
    return syscall($call{clock_settime}, $clock_realtime, $time) == 0 ? "" : "$!";
}

# Mixes a secret into the kernel's random pool, counts it, and has every generator start again from it: what two restores
# of one state would otherwise have in common ends here. RNDADDENTROPY, RNDRESEEDCRNG (include/uapi/linux/random.h).
sub reseed_random {
    my ($seed) = @_;
    open(my $random, "+<", "/dev/urandom") or return "/dev/urandom: $!";
    my $entropy = pack "l l a*", 8 * length $seed, length $seed, $seed;
    ioctl($random, 0x40085203, $entropy) or return "RNDADDENTROPY: $!";
    ioctl($random, 0x5207, 0) or return "RNDRESEEDCRNG: $!";
    return "";
}

# A terminal that changes no byte and echoes none (cfmakeraw). Something that is no terminal is left alone.
sub make_raw {
    my ($file) = @_;
    my $settings = "\0" x 60;
    return unless ioctl($file, 0x5401, $settings); # TCGETS
    my ($in, $out, $control, $local, $line, @characters) = unpack "L4 C C19", $settings;
    $in = 0;
    $out = 0;
    $local = 0;
    $control = ($control & ~0x130) | 0x30; # eight bits, no parity
    @characters[5, 6] = (0, 1);            # VTIME, VMIN
    $settings = pack "L4 C C19", $in, $out, $control, $local, $line, @characters;
    ioctl($file, 0x5402, $settings); # TCSETS
    ioctl($file, 0x540b, 0);         # TCFLSH, TCIFLUSH: what came while it was a terminal
    return;
}

# FIFREEZE and FITHAW (include/uapi/linux/fs.h): the file system holds still until thawed.
sub freeze { return freeze_ioctl($_[0], 0xc0045877) }
sub thaw { return freeze_ioctl($_[0], 0xc0045878) }

sub freeze_ioctl {
    my ($place, $request) = @_;
    sysopen(my $folder, $place, 0x10000) or return "$place: $!"; # O_RDONLY | O_DIRECTORY
    return ioctl($folder, $request, 0) ? "" : "$place: $!";
}

# { total, free } in bytes of the file system at a place, or undef.
sub file_system_bytes {
    my ($place) = @_;
    my $statistics = "\0" x 84;
    return undef if syscall($call{statfs64}, $place, 84, $statistics) != 0;
    my ($type, $block, $total_low, $total_high, $free_low, $free_high) = unpack "L6", $statistics;
    return { total => $block * ($total_low + $total_high * 4294967296), free => $block * ($free_low + $free_high * 4294967296) };
}

# For the kernel's own files, which take effect as they are written.
sub write_setting {
    my ($path, $value) = @_;
    sysopen(my $file, $path, 1) or return "$path: $!"; # O_WRONLY
    return defined syswrite($file, $value) ? "" : "$path: $!";
}

sub names_in {
    my ($folder) = @_;
    opendir(my $entries, $folder) or return;
    return sort grep { !/^\./ } readdir $entries;
}

sub read_file {
    my ($path) = @_;
    open(my $file, "<", $path) or return undef;
    local $/;
    return scalar <$file>;
}

# The file is whole or as before, also when power fails.
sub write_file {
    my ($path, $content, $mode) = @_;
    sysopen(my $file, "$path.new", 0x241, $mode) or return "$path: $!"; # O_WRONLY | O_CREAT | O_TRUNC
    print $file $content or return "$path: $!";
    close $file or return "$path: $!";
    chmod $mode, "$path.new";
    return rename("$path.new", $path) ? "" : "$path: $!";
}

1;
