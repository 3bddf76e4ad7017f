# Regular expressions, hashes, sorting and formatting: a text and the amount of work are given.
use strict;
use warnings;
use List::Util qw(sum max);

my ($path, $scale) = @ARGV;
open(my $file, '<', $path) or die "$path: $!\n";
my (%count, %follows, $previous, $lines, $vowels);
$previous = '';
while (my $line = <$file>) {
    last if ++$lines > 45 * $scale;
    chomp $line;
    $vowels += ($line =~ tr/aeiou//);
    for my $word (split /[\s.,]+/, lc $line) {
        next unless $word =~ /^(\w)(\w*)$/;
        $count{$word}++;
        $follows{$1}{$previous}++ if length $2 > 2;
        $previous = $1;
    }
    (my $swapped = $line) =~ s/\b(\w+) (\w+)\b/$2 $1/g;
    $count{length $swapped}++ if $swapped =~ /(\w)\1.*(\w)\2/;
}
my @top = (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 19];
printf "%-12s %6d\n", $_, $count{$_} for @top;
printf "%d %d %d\n", $vowels, sum(values %count), max(map { scalar keys %$_ } values %follows);

my @records = map { { id => $_, key => ($_ * 7919) % 10007, name => sprintf('n%05d', $_) } }
    1 .. 70 * $scale;
my $order = join ',', map { $_->{name} }
    (sort { $a->{key} <=> $b->{key} || $b->{name} cmp $a->{name} } @records)[0 .. 9];
print "$order\n";
