// The guest's kernel command line. Every argument is here for the start to be quick on an emulated processor, or for the
// screen to be a screen.

export const commandLine = [
  // Messages of the kernel go to nobody's screen; a panic is loud on both.
  "console=ttyS0",
  "console=tty0",
  "quiet",
  "loglevel=1",
  "vt.global_cursor_default=1",
  // Calibrating and self-tests take an emulated processor seconds.
  "tsc=reliable",
  "mitigations=off",
  "random.trust_cpu=on",
  "cryptomgr.notests",
  "noisapnp",
  "apparmor=0",
  "ipv6.disable=1",
  "initcall_blacklist=init_blk_tracer",
].join(" ");
