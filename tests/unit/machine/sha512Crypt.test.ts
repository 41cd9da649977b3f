import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sha512Crypt } from "../../../core/machine/sha512Crypt";

describe("sha512Crypt", () => {
  // The vectors of the specification (SHA-crypt.txt 0.6, sha512crypt.c).
  it.each<[string, string, number | undefined, string]>([
    ["Hello world!", "saltstring", undefined, "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"],
    ["Hello world!", "saltstringsaltst", 10000, "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v."],
    ["This is just a test", "toolongsaltstrin", 5000, "$6$rounds=5000$toolongsaltstrin$lQ8jolhgVRVhY4b5pZKaysCLi0QBxGoNeKQzQ3glMhwllF7oGDZxUhx1yxdYcz/e1JSbq3y6JMxxl8audkUEm0"],
    ["a very much longer text to encrypt.  This one even stretches over morethan one line.", "anotherlongsalts", 1400, "$6$rounds=1400$anotherlongsalts$POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1"],
    ["we have a short salt string but not a short password", "short", 77777, "$6$rounds=77777$short$WuQyW2YR.hBNpjjRhpYD/ifIw05xdfeEyQoMxIXbkvr0gge1a1x3yRULJ5CCaUeOxFmtlcGZelFl5CxtgfiAc0"],
    ["a short string", "asaltof16chars..", 123456, "$6$rounds=123456$asaltof16chars..$BtCwjqMJGx5hrJhZywWvt0RLE8uZ4oPwcelCjmw2kSYu.Ec6ycULevoBK25fs2xXgMNrCzIMVcgEJAstJeonj1"],
    ["the minimum number is still observed", "roundstoolow", 10, "$6$rounds=1000$roundstoolow$kUMsbe306n21p9R.FRkW3IGn.S9NPN0x50YhH1xhLsPuWGsUSklZt58jaTfF4ZEQpyUNGc0dqbpBYYBaHHrsX."],
  ])("hashes %j as the specification says", (password, salt, rounds, hash) => {
    expect(sha512Crypt(password, salt, rounds)).toBe(hash);
  });

  it("refuses a salt that would change the form of the hash", () => {
    for (const salt of ["", "$", "a:b", "a\nb", "x".repeat(17)]) expect(() => sha512Crypt("password", salt)).toThrow(RangeError);
  });

  it("hashes any password to the same form", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 40 }), (password) => {
        expect(sha512Crypt(password, "salt", 1000)).toMatch(/^\$6\$rounds=1000\$salt\$[./0-9A-Za-z]{86}$/);
      }),
      { numRuns: 30 },
    );
  });
});
