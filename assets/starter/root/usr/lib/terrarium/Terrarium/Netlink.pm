package Terrarium::Netlink;
# Adapters and addresses straight from the kernel (RFC 3549; include/uapi/linux/rtnetlink.h), without a program to ask.
use strict;
use warnings;

my ($family, $raw, $route_protocol) = (16, 3, 0);
my ($new_link, $del_link, $get_link, $new_address, $get_address) = (16, 17, 18, 20, 22);
my ($request, $dump, $done) = (1, 0x300, 3);
our ($flag_up, $flag_carrier) = (0x1, 0x10000); # IFF_UP, IFF_LOWER_UP

# A socket; `groups` is a mask of what it hears by itself: 1 = changes of adapters.
sub open_socket {
    my ($groups) = @_;
    socket(my $socket, $family, $raw, $route_protocol) or die "netlink: $!\n";
    bind($socket, pack("S S L L", $family, 0, 0, $groups)) or die "netlink: $!\n";
    return $socket;
}

# The adapters described in one datagram: [{ index, name, flags, mac, gone, bytes => { rx, tx } }].
sub links_in {
    my ($datagram) = @_;
    my @links;
    each_message($datagram, sub {
        my ($type, $body) = @_;
        return unless $type == $new_link || $type == $del_link;
        return if length $body < 16;
        my ($index, $flags) = unpack "x4 l L", $body;
        my %attributes = attributes(substr $body, 16);
        my $name = defined $attributes{3} ? unpack("Z*", $attributes{3}) : "";
        my $mac = defined $attributes{1} && length $attributes{1} == 6 ? join(":", map { sprintf "%02x", $_ } unpack "C6", $attributes{1}) : "";
        # IFLA_STATS64: packets received and sent, then bytes received and sent.
        my ($rx, $tx) = defined $attributes{23} && length $attributes{23} >= 32 ? unpack("x16 Q2", $attributes{23}) : ();
        my $bytes = defined $tx ? { rx => $rx, tx => $tx } : undef;
        push @links, { index => $index, name => $name, flags => $flags, mac => $mac, gone => $type == $del_link, bytes => $bytes };
    });
    return @links;
}

sub all_links {
    my @links;
    ask($get_link, 16, sub { push @links, links_in($_[0]) });
    return @links;
}

# [{ index, family ("ipv4" or "ipv6"), address, prefix }]
sub all_addresses {
    my @addresses;
    ask($get_address, 8, sub {
        each_message($_[0], sub {
            my ($type, $body) = @_;
            return unless $type == $new_address && length $body >= 8;
            my ($kind, $prefix, $index) = unpack "C C x2 L", $body;
            my %attributes = attributes(substr $body, 8);
            my $bytes = defined $attributes{2} ? $attributes{2} : $attributes{1}; # IFA_LOCAL, else IFA_ADDRESS
            return unless defined $bytes;
            my $text = $kind == 2 ? join(".", unpack "C4", $bytes) : ipv6_text($bytes);
            push @addresses, { index => $index, family => $kind == 2 ? "ipv4" : "ipv6", address => $text, prefix => $prefix };
        });
    });
    return @addresses;
}

# RFC 5952: the longest run of zeros (two at least) is left out, the first of equals.
sub ipv6_text {
    my $text = join ":", map { sprintf "%x", $_ } unpack "n8", $_[0];
    my $longest = "";
    while ($text =~ /(?<![0-9a-f])(0(?::0)+)(?![0-9a-f])/g) { $longest = $1 if length $1 > length $longest }
    return $text unless $longest;
    $text =~ s/(^|:)\Q$longest\E(:|$)/::/;
    return $text;
}

sub ask {
    my ($type, $header_bytes, $take) = @_;
    my $socket = open_socket(0);
    send $socket, pack("L S S L L", 16 + $header_bytes, $type, $request | $dump, 1, 0) . "\0" x $header_bytes, 0;
    for my $round (1 .. 256) {
        my $from = recv $socket, my $datagram, 65536, 0;
        die "netlink: $!\n" unless defined $from;
        $take->($datagram);
        my $finished = 0;
        each_message($datagram, sub { $finished = 1 if $_[0] == $done || $_[0] == 2 });
        return if $finished;
    }
    return;
}

sub each_message {
    my ($datagram, $take) = @_;
    my $at = 0;
    while ($at + 16 <= length $datagram) {
        my ($length, $type) = unpack "L S", substr $datagram, $at, 6;
        last if $length < 16 || $at + $length > length $datagram;
        $take->($type, substr $datagram, $at + 16, $length - 16);
        $at += ($length + 3) & ~3;
    }
    return;
}

sub attributes {
    my ($bytes) = @_;
    my %attributes;
    my $at = 0;
    while ($at + 4 <= length $bytes) {
        my ($length, $type) = unpack "S S", substr $bytes, $at, 4;
        last if $length < 4 || $at + $length > length $bytes;
        $attributes{$type} = substr $bytes, $at + 4, $length - 4;
        $at += ($length + 3) & ~3;
    }
    return %attributes;
}

1;
