package Terrarium::Jobs;
# Programs that the host has run here (guest-exec): started without a shell, their output collected up to a limit.
use strict;
use warnings;
use Terrarium::Json;
use Terrarium::System;

my $output_limit = 4 << 20;
my $jobs_kept = 64;

my %jobs; # pid => { out, err (text), reading => { handle => key }, input, writing, truncated, status }

# { pid } or dies with a message.
sub start {
    my ($path, $arguments, $environment, $input, $capture) = @_;
    forget_oldest();
    pipe(my $failure, my $failure_end) or die "pipe: $!\n";
    my %ends;
    for my $name ("in", "out", "err") { pipe($ends{$name}[0], $ends{$name}[1]) or die "pipe: $!\n" }
    my $pid = fork;
    die "fork: $!\n" unless defined $pid;
    if ($pid == 0) {
        $SIG{$_} = "DEFAULT" for "PIPE", "CHLD";
        Terrarium::System::set_session();
        open STDIN, "<&", defined $input ? $ends{in}[0] : null("<");
        open STDOUT, ">&", $capture->{out} ? $ends{out}[1] : null(">");
        open STDERR, ">&", $capture->{merged} ? $ends{out}[1] : $capture->{err} ? $ends{err}[1] : null(">");
        %ENV = (PATH => "/sbin:/usr/sbin:/bin:/usr/bin", HOME => "/root", USER => "root", TERM => "dumb");
        for my $pair (@$environment) { $ENV{$1} = $2 if $pair =~ /\A([^=\0]+)=(.*)\z/s }
        chdir "/root";
        no warnings "exec";
        exec { $path } $path, @$arguments;
        syswrite $failure_end, "$!";
        kill "KILL", $$;
    }
    close $failure_end;
    my $error = "";
    sysread $failure, $error, 256;
    if ($error ne "") {
        waitpid $pid, 0;
        die "Failed to execute child process \"$path\" ($error)\n";
    }
    close $ends{in}[0];
    close $ends{out}[1];
    close $ends{err}[1];
    my $job = $jobs{$pid} = { started => Terrarium::System::monotonic_ms(), out => "", err => "", input => $input, reading => {} };
    $job->{captures} = $capture;
    $job->{reading}{out} = $ends{out}[0] if $capture->{out};
    $job->{reading}{err} = $ends{err}[0] if $capture->{err};
    if (defined $input) { nonblocking($job->{writing} = $ends{in}[1]) }
    return $pid;
}

sub null { my ($mode) = @_; open my $null, $mode, "/dev/null"; return $null }

sub nonblocking {
    my ($file) = @_;
    fcntl $file, 4, 0x801; # F_SETFL, O_WRONLY | O_NONBLOCK
    return;
}

# For select: the handles to read from and to write to, each with what to do when ready.
sub watches {
    my (@read, @write);
    for my $job (values %jobs) {
        my $one = $job;
        for my $key (keys %{ $one->{reading} }) {
            my $which = $key;
            push @read, [$one->{reading}{$which}, sub { collect($one, $which) }];
        }
        push @write, [$one->{writing}, sub { feed($one) }] if $one->{writing};
    }
    return \@read, \@write;
}

sub collect {
    my ($job, $which) = @_;
    my $count = sysread $job->{reading}{$which}, my $bytes, 65536;
    return if !defined $count && $! + 0 == 4; # EINTR
    unless ($count) { delete $job->{reading}{$which}; return }
    my $room = $output_limit - length $job->{$which};
    # What is over the limit is still read, or the program would hang.
    $job->{"${which}_truncated"} = 1 if $count > $room;
    $job->{$which} .= $count > $room ? substr($bytes, 0, $room) : $bytes if $room > 0;
    return;
}

sub feed {
    my ($job) = @_;
    my $count = syswrite $job->{writing}, $job->{input}, 65536;
    if (!defined $count) {
        return if $! + 0 == 11 || $! + 0 == 4; # EAGAIN, EINTR
        delete $job->{writing};
        return;
    }
    substr($job->{input}, 0, $count) = "";
    delete $job->{writing} if $job->{input} eq "";
    return;
}

# Notes the end of a child; false when it was none of ours.
sub ended {
    my ($pid, $status) = @_;
    my $job = $jobs{$pid} or return 0;
    $job->{status} = $status;
    return 1;
}

# Whether a program still runs.
sub is_busy { return scalar grep { !defined $_->{status} } values %jobs }

# The answer of guest-exec-status, or undef for a pid that is not known (any more).
sub status {
    my ($pid) = @_;
    my $job = $jobs{$pid} or return undef;
    # A child of the program may hold the pipe; what is there now is all that counts after its end.
    drain($job) if defined $job->{status};
    my $answer = { exited => Terrarium::Json::boolean(defined $job->{status}) };
    return $answer unless defined $job->{status};
    if ($job->{status} & 127) { $answer->{signal} = Terrarium::Json::number($job->{status} & 127) }
    else { $answer->{exitcode} = Terrarium::Json::number($job->{status} >> 8) }
    for my $which ("out", "err") {
        next unless $job->{captures}{$which};
        $answer->{"$which-data"} = Terrarium::Json::to_base64($job->{$which}) if $job->{$which} ne "";
        $answer->{"$which-truncated"} = Terrarium::Json::boolean(1) if $job->{"${which}_truncated"};
    }
    delete $jobs{$pid};
    return $answer;
}

sub drain {
    my ($job) = @_;
    for my $which (keys %{ $job->{reading} }) {
        while (my $handle = $job->{reading}{$which}) {
            my $set = "";
            vec($set, fileno $handle, 1) = 1;
            last unless select($set, undef, undef, 0) > 0;
            collect($job, $which);
        }
    }
    return;
}

sub forget_oldest {
    my @ended = sort { $jobs{$a}{started} <=> $jobs{$b}{started} } grep { defined $jobs{$_}{status} } keys %jobs;
    delete $jobs{shift @ended} while @ended >= $jobs_kept;
    die "too many programs are running\n" if keys %jobs >= 4 * $jobs_kept;
    return;
}

1;
