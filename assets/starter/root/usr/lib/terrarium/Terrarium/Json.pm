package Terrarium::Json;
# JSON as the agent needs it (RFC 8259), for requests that may be hostile: depth is capped, nothing is evaluated, and an
# error is a message, never a death of the agent.
#
# In Perl a string is a plain scalar; a number is a Terrarium::Number (a reference to its text), true and false are
# Terrarium::Boolean (a reference to 1 or 0), null is undef. So a string "5" and the number 5 stay apart. Strings are
# bytes in UTF-8.
use strict;
use warnings;

my $deepest = 64;

sub number { my ($text) = @_; return bless \$text, "Terrarium::Number" }
sub boolean { my $bit = $_[0] ? 1 : 0; return bless \$bit, "Terrarium::Boolean" }
sub is_number { return ref $_[0] eq "Terrarium::Number" }
sub is_boolean { return ref $_[0] eq "Terrarium::Boolean" }

# The value in the text; dies with "JSON: ..." where it is not JSON.
sub decode {
    my ($text) = @_;
    pos($text) = 0;
    my $value = value(\$text, 0);
    $text =~ /\G[ \t\r\n]*/gc;
    fail(\$text, "something follows the value") if pos($text) < length $text;
    return $value;
}

sub fail {
    my ($text, $why) = @_;
    my $at = pos($$text) || 0;
    die "JSON: $why at byte $at, in " . quote(substr $$text, $at > 20 ? $at - 20 : 0, 40) . "\n";
}

sub value {
    my ($text, $depth) = @_;
    fail($text, "nested too deeply") if $depth > $deepest;
    $$text =~ /\G[ \t\r\n]*/gc;
    return string($text) if $$text =~ /\G"/gc;
    return object($text, $depth) if $$text =~ /\G\{/gc;
    return list($text, $depth) if $$text =~ /\G\[/gc;
    return number($1) if $$text =~ /\G(-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?(?:[eE][-+]?[0-9]{1,4})?)(?![0-9.])/gc;
    return boolean(1) if $$text =~ /\Gtrue\b/gc;
    return boolean(0) if $$text =~ /\Gfalse\b/gc;
    return undef if $$text =~ /\Gnull\b/gc;
    fail($text, "no value");
}

sub object {
    my ($text, $depth) = @_;
    my %object;
    return \%object if $$text =~ /\G[ \t\r\n]*\}/gc;
    while (1) {
        $$text =~ /\G[ \t\r\n]*"/gc or fail($text, "no name");
        my $name = string($text);
        $$text =~ /\G[ \t\r\n]*:/gc or fail($text, "no colon");
        $object{$name} = value($text, $depth + 1);
        next if $$text =~ /\G[ \t\r\n]*,/gc;
        return \%object if $$text =~ /\G[ \t\r\n]*\}/gc;
        fail($text, "object not closed");
    }
}

sub list {
    my ($text, $depth) = @_;
    my @list;
    return \@list if $$text =~ /\G[ \t\r\n]*\]/gc;
    while (1) {
        push @list, value($text, $depth + 1);
        next if $$text =~ /\G[ \t\r\n]*,/gc;
        return \@list if $$text =~ /\G[ \t\r\n]*\]/gc;
        fail($text, "list not closed");
    }
}

my %escaped = ('"' => '"', "\\" => "\\", "/" => "/", b => "\b", f => "\f", n => "\n", r => "\r", t => "\t");

# After the opening quote.
sub string {
    my ($text) = @_;
    my $string = "";
    while (1) {
        # In bounded pieces: perl's matcher keeps state for each repetition.
        if ($$text =~ /\G([^"\\\x00-\x1f]{1,16384})/gc) { $string .= $1 }
        elsif ($$text =~ /\G"/gc) { return $string }
        elsif ($$text =~ /\G\\(["\\\/bfnrt])/gc) { $string .= $escaped{$1} }
        elsif ($$text =~ /\G\\u([0-9a-fA-F]{4})/gc) { $string .= utf8_bytes(code_point($text, hex $1)) }
        else { fail($text, "string not closed") }
    }
}

# Two escapes can be one character (a surrogate pair); half a pair is replaced.
sub code_point {
    my ($text, $code) = @_;
    return $code if $code < 0xd800 || $code > 0xdfff;
    if ($code < 0xdc00 && $$text =~ /\G\\u([dD][c-fC-F][0-9a-fA-F]{2})/gc) {
        return 0x10000 + (($code - 0xd800) << 10) + (hex($1) - 0xdc00);
    }
    return 0xfffd;
}

sub utf8_bytes { my $character = chr $_[0]; utf8::encode($character); return $character }

sub encode {
    my ($value) = @_;
    return "null" unless defined $value;
    my $kind = ref $value;
    return quote($value) if $kind eq "";
    return $$value if $kind eq "Terrarium::Number";
    return $$value ? "true" : "false" if $kind eq "Terrarium::Boolean";
    return "[" . join(",", map { encode($_) } @$value) . "]" if $kind eq "ARRAY";
    return "{" . join(",", map { quote($_) . ":" . encode($value->{$_}) } sort keys %$value) . "}" if $kind eq "HASH";
    die "JSON: cannot say a $kind\n";
}

my %escape = ('"' => '\\"', "\\" => "\\\\", "\n" => "\\n", "\r" => "\\r", "\t" => "\\t");

sub quote {
    my ($string) = @_;
    $string =~ s/(["\\\x00-\x1f\x7f])/$escape{$1} || sprintf("\\u%04x", ord $1)/ge;
    if ($string =~ /[\x80-\xff]/) {
        my $copy = $string;
        # What is not UTF-8 cannot stand in JSON as it is.
        $string =~ s/([\x80-\xff])/sprintf("\\u%04x", ord $1)/ge unless utf8::decode($copy);
    }
    return "\"$string\"";
}

# RFC 4648 base64 by way of uuencode, which perl has built in and which differs only in its letters.
sub to_base64 {
    my ($bytes) = @_;
    my $text = pack("u45", $bytes);
    $text =~ s/^.//mg;
    $text =~ tr/\n//d;
    $text =~ tr{` -_}{AA-Za-z0-9+/};
    my $padding = (3 - length($bytes) % 3) % 3;
    substr($text, -$padding) = "=" x $padding if $padding;
    return $text;
}

# The bytes, or undef where the text is no base64.
sub from_base64 {
    my ($text) = @_;
    return undef if length($text) % 4 || $text =~ m{[^A-Za-z0-9+/=]} || $text =~ /=[^=]|===/;
    $text =~ tr/=//d;
    $text =~ tr{A-Za-z0-9+/}{ -_};
    my $bytes = "";
    for (my $at = 0; $at < length $text; $at += 60) {
        my $piece = substr($text, $at, 60);
        $bytes .= unpack("u", chr(32 + int(length($piece) * 3 / 4)) . $piece);
    }
    return $bytes;
}

1;
