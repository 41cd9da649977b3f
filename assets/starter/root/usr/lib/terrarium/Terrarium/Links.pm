package Terrarium::Links;
# Watches what changes from outside: the cable of every adapter, and the power button. A process of its own, which sleeps
# until the kernel says that something happened.
#
# An adapter with a cable has a DHCP client; it is started anew each time a cable is plugged, because it may lead to
# another network. It never gives up: a network may get its DHCP server later.
use strict;
use warnings;
use Terrarium::Netlink;
use Terrarium::System;

my ($key_event, $power_key, $event_bytes) = (1, 116, 16); # include/uapi/linux/input.h
my $client_pause = 2;

my %adapters; # name => { plugged, client (pid), at_once (start a client without a pause) }
my ($child_ended, $child_ends, $socket, $button);

sub run {
    # Clients of a watcher that died.
    for my $pid (grep { /^[0-9]+\z/ } Terrarium::System::names_in("/proc")) {
        kill "TERM", $pid if (Terrarium::System::read_file("/proc/$pid/comm") // "") eq "udhcpc\n";
    }
    pipe $child_ended, $child_ends or die "pipe: $!";
    $SIG{CHLD} = sub { syswrite $child_ends, "x" };
    $socket = Terrarium::Netlink::open_socket(1);
    $button = power_button();
    see($_) for Terrarium::Netlink::all_links();
    watch_once() while 1;
}

sub watch_once {
    start_clients(0);
    my $wanted = "";
    vec($wanted, fileno $_, 1) = 1 for grep { defined } $socket, $child_ended, $button;
    my $waiting = grep { $_->{plugged} && !$_->{client} } values %adapters;
    my $count = select my $ready = $wanted, undef, undef, $waiting ? $client_pause : undef;
    start_clients(1) if $count == 0;
    return if $count <= 0;
    if (vec $ready, fileno $child_ended, 1) { sysread $child_ended, my $bytes, 256; bury() }
    if (vec $ready, fileno $socket, 1) { hear() }
    if ($button && vec $ready, fileno $button, 1) { press() }
    return;
}

sub hear {
    my $from = recv $socket, my $datagram, 65536, 0;
    # Where too much happened at once and some of it was lost, look at everything again.
    see($_) for defined $from ? Terrarium::Netlink::links_in($datagram) : Terrarium::Netlink::all_links();
    return;
}

sub see {
    my ($link) = @_;
    my $name = $link->{name};
    return unless $name =~ /^eth[0-9]{1,2}$/;
    my $adapter = $adapters{$name} ||= { plugged => 0 };
    my $up = !$link->{gone} && $link->{flags} & $Terrarium::Netlink::flag_up;
    # An adapter that is down does not tell of its cable. Whoever takes one down later means it.
    if (!$link->{gone} && !$up && !$adapter->{raised}) { start("ip", "link", "set", $name, "up") }
    # A card that is plugged in after this one went may get its name.
    $adapter->{raised} = !$link->{gone};
    my $plugged = $up && $link->{flags} & $Terrarium::Netlink::flag_carrier ? 1 : 0;
    return if $plugged == $adapter->{plugged};
    $adapter->{plugged} = $plugged;
    $adapter->{at_once} = $plugged;
    kill "TERM", $adapter->{client} if $adapter->{client};
    return;
}

sub start_clients {
    my ($after_pause) = @_;
    my $host = Terrarium::System::read_file("/proc/sys/kernel/hostname") // "terrarium\n";
    chomp $host;
    for my $name (sort keys %adapters) {
        my $adapter = $adapters{$name};
        next if !$adapter->{plugged} || $adapter->{client} || !($adapter->{at_once} || $after_pause);
        $adapter->{at_once} = 0;
        $adapter->{client} = start("udhcpc", "-f", "-i", $name, "-s", "/usr/lib/terrarium/dhcp-event",
            "-t", "4", "-T", "1", "-A", "2", "-x", "hostname:$host");
    }
    return;
}

# Clients that ended: their address goes with them.
sub bury {
    while ((my $pid = waitpid -1, 1) > 0) { # WNOHANG
        for my $name (grep { ($adapters{$_}{client} || 0) == $pid } keys %adapters) {
            delete $adapters{$name}{client};
            local $ENV{interface} = $name;
            start("/usr/lib/terrarium/dhcp-event", "deconfig");
        }
    }
    return;
}

sub start {
    my @command = @_;
    my $pid = fork;
    return undef unless defined $pid;
    return $pid if $pid;
    $SIG{CHLD} = "DEFAULT";
    open STDIN, "<", "/dev/null";
    open STDOUT, ">", "/dev/null";
    open STDERR, ">", "/dev/null";
    exec { $command[0] } @command or exit 127;
}

# The input device of the ACPI power button, if there is one.
sub power_button {
    for my $event (grep { /^event/ } Terrarium::System::names_in("/sys/class/input")) {
        my $name = Terrarium::System::read_file("/sys/class/input/$event/device/name");
        next unless defined $name && $name =~ /^Power Button/;
        open my $device, "<", "/dev/input/$event" or next;
        return $device;
    }
    return undef;
}

sub press {
    my $count = sysread $button, my $events, 64 * $event_bytes;
    unless ($count) { undef $button; return }
    for (my $at = 0; $at + $event_bytes <= $count; $at += $event_bytes) {
        my ($type, $code, $value) = unpack "x8 S S l", substr $events, $at, $event_bytes;
        start("/sbin/poweroff") if $type == $key_event && $code == $power_key && $value == 1;
    }
    return;
}

1;
