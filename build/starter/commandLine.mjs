// The guest's kernel command line. Every argument is here for the start to be quick on an emulated processor, for the
// screen to be a screen, or for a disk to be plugged in while it runs. None changes what a program in the guest can do, except that there is no tracing.

/** Parts of the kernel that take long to set up and serve nothing in this guest. */
const leftOut = [
  // The tracing file system and what hangs on it.
  "tracer_init_tracefs",
  "init_blk_tracer",
  "init_kprobe_trace",
  "init_dynamic_event",
  // Self-tests.
  "crypto_kdf108_init",
  "blake2s_mod_init",
  // Keys for checking signed modules; the modules here come without signatures.
  "load_system_certificate_list",
  "load_revocation_certificate_list",
  // Statistics of allocators and counters under /sys.
  "slab_sysfs_init",
  "perf_event_sysfs_init",
];

export const commandLine = [
  // Messages of the kernel go to nobody's screen; a panic is loud on both.
  "console=ttyS0",
  "console=tty0",
  "quiet",
  "loglevel=1",
  // Calibrating takes seconds.
  "tsc=reliable",
  "mitigations=off",
  // A machine that was saved or had no processor for a while is not stuck.
  "nowatchdog",
  "rcupdate.rcu_cpu_stall_suppress=1",
  "random.trust_cpu=on",
  "cryptomgr.notests",
  "noisapnp",
  "apparmor=0",
  "ipv6.disable=1",
  // QEMU reserves a range above 4 GiB for AMD processors; cut to this kernel's 32 bits it covers every window of the PCI
  // bridges, and nothing could be plugged in behind them.
  "pci=no_e820",
  `initcall_blacklist=${leftOut.join(",")}`,
].join(" ");
