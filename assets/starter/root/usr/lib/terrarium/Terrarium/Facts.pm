package Terrarium::Facts;
# What the guest says about itself, in the shapes of the QEMU guest agent.
use strict;
use warnings;
use Terrarium::Json;
use Terrarium::Netlink;
use Terrarium::System;

sub os_info {
    my %answer = (
        "machine" => "i686",
        "kernel-release" => line("/proc/sys/kernel/osrelease"),
        "kernel-version" => line("/proc/sys/kernel/version"),
    );
    my %names = (ID => "id", NAME => "name", PRETTY_NAME => "pretty-name", VERSION => "version", VERSION_ID => "version-id");
    for my $entry (split /\n/, Terrarium::System::read_file("/etc/os-release") // "") {
        $answer{ $names{$1} } = $2 if $entry =~ /\A([A-Z_]+)="?(.*?)"?\z/ && $names{$1};
    }
    return \%answer;
}

sub host_name { return line("/proc/sys/kernel/hostname") }

sub interfaces {
    my %addresses;
    for my $one (Terrarium::Netlink::all_addresses()) {
        push @{ $addresses{ $one->{index} } }, {
            "ip-address" => $one->{address},
            "ip-address-type" => $one->{family},
            "prefix" => Terrarium::Json::number($one->{prefix}),
        };
    }
    my @interfaces;
    for my $link (Terrarium::Netlink::all_links()) {
        my $interface = { name => $link->{name}, "ip-addresses" => $addresses{ $link->{index} } || [] };
        $interface->{"hardware-address"} = $link->{mac} if $link->{mac} ne "";
        my %names = (packets => "packets", bytes => "bytes", errors => "errs", dropped => "dropped");
        for my $direction ("rx", "tx") {
            for my $kind (sort keys %names) {
                my $count = line("/sys/class/net/$link->{name}/statistics/${direction}_$kind");
                $interface->{statistics}{"$direction-$names{$kind}"} = Terrarium::Json::number($count) if $count =~ /\A[0-9]+\z/;
            }
        }
        push @interfaces, $interface;
    }
    return \@interfaces;
}

# What is used now, for whoever asks every few seconds: few reads, a short answer. The adapters are in the shape of
# guest-network-get-interfaces.
sub usage {
    my %answer = (interfaces => []);
    my $memory = Terrarium::System::read_file("/proc/meminfo") // "";
    for my $name ("Total", "Available") {
        $answer{memory}{lc($name) . "-bytes"} = Terrarium::Json::number($1 * 1024) if $memory =~ /^Mem$name:\s+([0-9]+) kB$/m;
    }
    for my $link (grep { $_->{mac} ne "" && $_->{bytes} } Terrarium::Netlink::all_links()) {
        my %statistics = map { ("$_-bytes" => Terrarium::Json::number($link->{bytes}{$_})) } "rx", "tx";
        push @{ $answer{interfaces} }, { "hardware-address" => $link->{mac}, statistics => \%statistics };
    }
    return \%answer;
}

# The disk at /data, if any, as in guest-get-fsinfo.
sub file_systems {
    my @answer;
    for my $entry (split /\n/, Terrarium::System::read_file("/proc/mounts") // "") {
        my ($device, $place, $type) = split / /, $entry;
        next unless $device =~ m{\A/dev/(\w+)\z};
        my $name = $1;
        my $bytes = Terrarium::System::file_system_bytes($place) or next;
        push @answer, {
            name => $name, mountpoint => $place, type => $type, disk => [],
            "total-bytes" => Terrarium::Json::number(sprintf "%.0f", $bytes->{total}),
            "used-bytes" => Terrarium::Json::number(sprintf "%.0f", $bytes->{total} - $bytes->{free}),
        };
    }
    return \@answer;
}

sub line {
    my $text = Terrarium::System::read_file($_[0]);
    return "" unless defined $text;
    chomp $text;
    return $text;
}

1;
