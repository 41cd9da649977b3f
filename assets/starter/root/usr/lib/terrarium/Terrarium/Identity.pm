package Terrarium::Identity;
# Who this machine is. `prepare` brings a running guest into a state that may be saved and given to many machines: it is
# nobody, owns no disk and shows no prompt. `apply` makes it somebody: name, adapter addresses, random numbers, host key,
# machine id, and only then its disk. The host plugs the cables after the answer.
use strict;
use warnings;
use Terrarium::Disk;
use Terrarium::Json;
use Terrarium::Netlink;
use Terrarium::System;

my $hold = "/run/hold";
my $host_key = "/etc/dropbear/dropbear_ed25519_host_key";
my $authorized_keys = "/root/.ssh/authorized_keys";
my @terminals = ("tty1", "ttyS0");
my $nobody = "terrarium";
my $renamed = 0;

sub is_held { return -e $hold }

# The request's fields, checked, or dies with what is wrong. Nothing is changed before all of them are right.
sub checked {
    my ($given) = @_;
    my %identity;
    my %shapes = (
        hostname => qr/\A(?!-)[A-Za-z0-9-]{1,63}(?<!-)\z/,
        machineId => qr/\A[0-9a-f]{32}\z/,
        authorizedKeys => qr/\A[^\0]*\z/,
    );
    for my $name (sort keys %shapes) {
        next unless defined $given->{$name};
        die "'$name' is not of the right form\n" if ref $given->{$name} || $given->{$name} !~ $shapes{$name};
        $identity{$name} = $given->{$name};
    }
    for my $name ("seed", "hostKey") {
        next unless defined $given->{$name};
        my $bytes = ref $given->{$name} ? undef : Terrarium::Json::from_base64($given->{$name});
        die "'$name' is not base64\n" unless defined $bytes && length $bytes <= 4096;
        $identity{$name} = $bytes;
    }
    die "'seed' must be at least 32 bytes\n" if defined $identity{seed} && length $identity{seed} < 32;
    if (defined $given->{macs}) {
        die "'macs' is not a list of at most 4\n" unless ref $given->{macs} eq "ARRAY" && @{ $given->{macs} } <= 4;
        for my $mac (@{ $given->{macs} }) {
            die "'macs' holds something that is no unicast MAC address\n"
                if ref $mac || ($mac // "") !~ /\A[0-9a-fA-F][02468aceACE](?::[0-9a-fA-F]{2}){5}\z/;
        }
        $identity{macs} = $given->{macs};
    }
    if (defined $given->{time}) {
        die "'time' is not a number of milliseconds\n"
            unless Terrarium::Json::is_number($given->{time}) && ${ $given->{time} } =~ /\A[0-9]{1,13}\z/;
        $identity{time} = ${ $given->{time} };
    }
    if (defined $given->{blankDisk}) {
        die "'blankDisk' is not true or false\n" unless Terrarium::Json::is_boolean($given->{blankDisk});
        $identity{blankDisk} = ${ $given->{blankDisk} } ? 1 : 0;
    }
    return \%identity;
}

sub apply {
    my ($given) = @_;
    my $identity = checked($given);
    my $was_held = is_held();
    my $old_name = Terrarium::Facts::host_name();
    my (@failed, %spent);
    my $step = sub {
        my ($name, $work) = @_;
        my $start = Terrarium::System::monotonic_ms();
        my $error = eval { $work->() } // $@;
        chomp $error;
        push @failed, "$name: $error" if $error ne "";
        $spent{$name} = Terrarium::Json::number(sprintf "%.1f", Terrarium::System::monotonic_ms() - $start);
    };
    my $data = { state => "none" };

    # The clock first: what follows makes files and keys with dates.
    $step->(time => sub { set_clock($identity->{time}) }) if defined $identity->{time};
    $step->(hostname => sub { set_name($identity->{hostname}) }) if defined $identity->{hostname};
    $step->(macs => sub { set_macs($identity->{macs}) }) if $identity->{macs};
    $step->(seed => sub { Terrarium::System::reseed_random($identity->{seed}) }) if defined $identity->{seed};
    $step->(hostKey => sub { set_keys($identity) });
    $step->(machineId => sub { Terrarium::System::write_file("/etc/machine-id", "$identity->{machineId}\n", 0644) })
        if defined $identity->{machineId};
    $step->(disk => sub { $data = Terrarium::Disk::bind($identity->{blankDisk}); return $data->{state} eq "failed" ? $data->{reason} : "" });

    unlink $hold;
    $renamed = !$was_held && Terrarium::Facts::host_name() ne $old_name;
    my $answer = { hostname => Terrarium::Facts::host_name(), data => $data, milliseconds => \%spent };
    $answer->{failed} = \@failed if @failed;
    return $answer;
}

# What starts on the strength of an identity. It comes after the answer, with which it would share the processor.
sub start_services {
    for my $terminal (@terminals) {
        # A shell at its prompt shows the old name; one that waited for a name shows the new.
        end_session($terminal) if $renamed;
        wake($terminal);
    }
    end_process("/run/dropbear.pid");
    release_services();
    return;
}

sub set_clock {
    my ($milliseconds) = @_;
    return Terrarium::System::set_time(int($milliseconds / 1000), ($milliseconds % 1000) * 1_000_000);
}

sub set_name {
    my ($name) = @_;
    return Terrarium::System::set_hostname($name)
        || Terrarium::System::write_file("/etc/hostname", "$name\n", 0644)
        || Terrarium::System::write_file("/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\t$name\n", 0644);
}

sub set_macs {
    my ($macs) = @_;
    socket(my $socket, 2, 2, 0) or return "socket: $!"; # AF_INET, SOCK_DGRAM
    for my $number (0 .. $#$macs) {
        my $name = "eth$number";
        # struct ifreq: the name, then a socket address of kind ARPHRD_ETHER. SIOCSIFHWADDR.
        my $request = pack "a16 S a6 x8", $name, 1, pack("H12", $macs->[$number] =~ s/://gr);
        ioctl($socket, 0x8924, $request) or return "$name: $!";
    }
    return "";
}

sub set_keys {
    my ($identity) = @_;
    if (defined $identity->{hostKey}) {
        my $error = Terrarium::System::write_file($host_key, $identity->{hostKey}, 0600);
        return $error if $error;
    }
    # Without a key given, the SSH server makes one when it starts.
    return "" unless defined $identity->{authorizedKeys};
    return Terrarium::System::write_file($authorized_keys, $identity->{authorizedKeys}, 0600);
}

sub end_session {
    my ($terminal) = @_;
    end_process("/run/session.$terminal");
    unlink "/run/session.$terminal";
    return;
}

# What waits until this machine is somebody, and until the agent answers: nothing of it delays the first answer.
sub release_services {
    open my $ready, ">", "/run/agent.ready";
    wake($_) for "sshd", "later";
    return;
}

sub end_process {
    my $pid = Terrarium::System::read_file($_[0]) // "";
    kill "KILL", $1 if $pid =~ /\A([0-9]+)\n?\z/;
    return;
}

sub wake {
    my ($who) = @_;
    # O_WRONLY | O_NONBLOCK: without a reader there is nobody to wake.
    sysopen(my $pipe, "/run/wake.$who", 0x801) or return;
    syswrite $pipe, "\n";
    return;
}

# Ready to be saved: empty string, or why not.
sub prepare {
    open(my $flag, ">", $hold) or return "$hold: $!";
    close $flag;
    end_session($_) for @terminals;
    # What an identity will need is loaded now, and saved with the state.
    my $error = Terrarium::Disk::release();
    return $error if $error;
    unlink $host_key, "$host_key.new", $authorized_keys, "/etc/machine-id", "/root/.sh_history",
        map { "/run/$_" } grep { /^lease\./ } Terrarium::System::names_in("/run");
    end_process("/run/dropbear.pid");
    system "/usr/lib/terrarium/load-later";
    $error = set_name($nobody) || Terrarium::System::write_file("/etc/resolv.conf", "", 0644);
    return $error if $error;
    for my $link (Terrarium::Netlink::all_links()) {
        system "ip", "addr", "flush", "dev", $link->{name} if $link->{name} =~ /^eth/;
    }
    for my $terminal (@terminals) {
        open(my $screen, ">", "/dev/$terminal") or return "/dev/$terminal: $!";
        print $screen "\033[0m\033[2J\033[H";
    }
    Terrarium::System::sync_all();
    open(my $caches, ">", "/proc/sys/vm/drop_caches") or return "drop_caches: $!";
    print $caches "3\n";
    close $caches;
    return zero_free_memory();
}

# Pages that hold nothing but remains of the start would be saved with the state; zeros are not.
sub zero_free_memory {
    my $left_free = 12 << 20;
    my $folder = "/run/zeros";
    mkdir $folder;
    my $error = Terrarium::System::mount("zeros", $folder, "tmpfs", {}, "size=100%");
    return $error if $error;
    if (open my $file, ">:raw", "$folder/file") {
        my $megabyte = "\0" x (1 << 20);
        while ((Terrarium::System::read_file("/proc/meminfo") // "") =~ /^MemFree: +([0-9]+) kB/m && $1 * 1024 > $left_free) {
            last unless syswrite $file, $megabyte;
        }
        close $file;
    }
    $error = Terrarium::System::unmount($folder);
    rmdir $folder;
    return $error;
}

1;
