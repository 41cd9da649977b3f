package Terrarium::Disk;
# The first disk becomes /data. One that is empty is formatted; one that holds anything at all is only ever mounted, and
# only when it holds an ext file system. Whether a disk is empty the host knows at once: it has made it and nothing was
# ever written to it. Where no host says so all of the disk is read, because what it holds may lie anywhere.
use strict;
use warnings;
use Terrarium::System;

my $place = "/data";
my $device = "/dev/vda";
my $bus = "/sys/bus/virtio";
my $driver = "$bus/drivers/virtio_blk";
my $block_device = "0x0002\n"; # virtio 1.1, 5: device type 2
my $kib = 1024;
# Where partition tables, RAID, LVM, file systems and boot sectors keep their first or last signs.
my $signs_at_start = 1024 * $kib;
my $signs_at_end = 1024 * $kib;
my $ext_superblock = 1024;
my ($ext_magic, $ext_has_errors) = (0xef53, 2);

# What became of the disk: { state => "none" | "mounted" | "formatted" | "foreign" | "failed", ... }.
# blank: 1 when the host knows that nothing was ever written to it, 0 when it knows otherwise, undef when nobody says.
sub bind {
    my ($blank) = @_;
    my $error = load_modules("disk") || load_modules("blockDriver") || bind_driver();
    return { state => "failed", reason => $error } if $error;
    return { state => "none" } unless -b $device;
    return { state => "mounted", device => $device } if is_mounted();
    my $content = content($blank);
    return { state => "failed", device => $device, reason => $content->{error} } if $content->{error};
    return { state => "foreign", device => $device, reason => $content->{what} } if $content->{what};
    my $state = "mounted";
    if ($content->{empty}) {
        my $error = format_disk();
        return { state => "failed", device => $device, reason => $error } if $error;
        $state = "formatted";
    }
    my ($repaired, $read_only) = ("", 0);
    if ($content->{has_errors}) {
        my $code = system("/sbin/e2fsck -p $device >/run/e2fsck.log 2>&1 </dev/null") >> 8;
        # Bits of its exit code: 1 and 2 are repairs made, 4 and more are errors left.
        ($repaired, $read_only) = ($code < 4 ? "repaired" : "errors left", $code >= 4);
    }
    # Uninitialised inode tables stay so: filling them would only make a sparse disk big.
    $error = Terrarium::System::mount($device, $place, "ext4", { read_only => $read_only }, "noinit_itable");
    return { state => "failed", device => $device, reason => "mount: $error" } if $error;
    my $answer = { state => $state, device => $device, place => $place };
    $answer->{check} = $repaired if $repaired;
    $answer->{readOnly} = Terrarium::Json::boolean(1) if $read_only;
    return $answer;
}

# Leaves every disk: what a saved state needs for its next disk is loaded and holds none. Empty string, or why not.
sub release {
    if (is_mounted()) {
        my $error = Terrarium::System::unmount($place);
        return "$place: $error" if $error;
    }
    # A driver takes what it finds when it is loaded, unless told not to.
    my $error = Terrarium::System::write_setting("$bus/drivers_autoprobe", "0")
        || load_modules("disk") || load_modules("blockDriver");
    return $error if $error;
    for my $name (grep { /^virtio[0-9]+\z/ } Terrarium::System::names_in($driver)) {
        $error ||= Terrarium::System::write_setting("$driver/unbind", $name);
    }
    return $error || Terrarium::System::write_setting("$bus/drivers_autoprobe", "1");
}

# Gives the driver the disks that it was told to leave.
sub bind_driver {
    for my $name (Terrarium::System::names_in("$bus/devices")) {
        next if (Terrarium::System::read_file("$bus/devices/$name/device") // "") ne $block_device || -e "$bus/devices/$name/driver";
        my $error = Terrarium::System::write_setting("$driver/bind", $name);
        return $error if $error;
    }
    return "";
}

sub is_mounted {
    my $mounts = Terrarium::System::read_file("/proc/mounts");
    return defined $mounts && $mounts =~ m{^\S+ \Q$place\E }m;
}

# { empty } or { has_errors } (an ext file system) or { what } (something else) or { error }.
sub content {
    my ($blank) = @_;
    open(my $disk, "<:raw", $device) or return { error => "$device: $!" };
    my $size = sysseek $disk, 0, 2;
    return { error => "$device has no size" } unless $size;
    my $start = read_at($disk, 0, 4 * $kib);
    return { error => "$device cannot be read: $!" } unless defined $start;
    if (length $start >= 2 * $kib && unpack("S", substr $start, $ext_superblock + 56, 2) == $ext_magic) {
        my $state = unpack "S", substr $start, $ext_superblock + 58, 2;
        return { has_errors => $state & $ext_has_errors ? 1 : 0 };
    }
    my $end = $size > $signs_at_end ? $size - $signs_at_end : 0;
    # Its beginning and its end are looked at in any case, whatever the host says.
    my @parts = ([0, $signs_at_start], [$end, $signs_at_end]);
    push @parts, [0, $size] unless defined $blank;
    for my $part (@parts) {
        my ($at, $left) = @$part;
        while ($left > 0 && $at < $size) {
            my $bytes = read_at($disk, $at, 128 * $kib);
            return { error => "$device cannot be read: $!" } unless defined $bytes;
            last if $bytes eq "";
            return { what => "it holds something that is no ext4 file system" } if $bytes =~ /[^\0]/;
            $at += length $bytes;
            $left -= length $bytes;
        }
    }
    return { what => "nothing is at its beginning, but it is not new; mke2fs $device makes a file system on it, and takes all it may hold" }
        if defined $blank && !$blank;
    return { empty => 1 };
}

sub read_at {
    my ($file, $at, $count) = @_;
    sysseek($file, $at, 0) // return undef;
    my $bytes = "";
    sysread($file, $bytes, $count) // return undef;
    return $bytes;
}

# Little is written: the inode tables are left for first use, the journal is small.
sub format_disk {
    my $output = `/sbin/mke2fs -q -F -t ext4 -m 0 -L data -E lazy_itable_init=1,lazy_journal_init=1,nodiscard -J size=4 $device 2>&1 </dev/null`;
    return "" if $? == 0;
    $output = `/sbin/mke2fs -q -F -t ext4 -m 0 -L data -E nodiscard $device 2>&1 </dev/null`;
    return $? == 0 ? "" : "mke2fs: $output";
}

# Empty string, or what failed.
sub load_modules {
    my ($group) = @_;
    for my $path (split /\n/, Terrarium::System::read_file("/usr/lib/terrarium/modules/$group") // "") {
        my $error = Terrarium::System::load_module($path);
        return $error if $error;
    }
    return "";
}

1;
