// The Debian packages needed beside Node, each with its reason and how to see whether it is there. Names differ between
// releases (t64 since Debian 13 and Ubuntu 24.04): the first that apt knows is taken.

/**
 * @typedef {{ names: string[], library?: string, program?: string, files?: string[], reason: string }} Need `library` is
 *   the soname that is missing without the package, `program` a command on the path, `files` where the one file may lie
 *   that is needed of it; that is how its presence is seen, so the list also says what to look for on systems without apt
 */

/** @type {Need[]} What Electron's binary is linked against. */
export const electronLibraries = [
  ...[
    ["libnss3.so", "libnss3"],
    ["libnssutil3.so", "libnss3"],
    ["libsmime3.so", "libnss3"],
    ["libnspr4.so", "libnspr4"],
    ["libglib-2.0.so.0", "libglib2.0-0t64", "libglib2.0-0"],
    ["libgobject-2.0.so.0", "libglib2.0-0t64", "libglib2.0-0"],
    ["libgio-2.0.so.0", "libglib2.0-0t64", "libglib2.0-0"],
    ["libatk-1.0.so.0", "libatk1.0-0t64", "libatk1.0-0"],
    ["libatk-bridge-2.0.so.0", "libatk-bridge2.0-0t64", "libatk-bridge2.0-0"],
    ["libatspi.so.0", "libatspi2.0-0t64", "libatspi2.0-0"],
    ["libcups.so.2", "libcups2t64", "libcups2"],
    ["libdbus-1.so.3", "libdbus-1-3"],
    ["libdrm.so.2", "libdrm2"],
    ["libgtk-3.so.0", "libgtk-3-0t64", "libgtk-3-0"],
    ["libgdk-3.so.0", "libgtk-3-0t64", "libgtk-3-0"],
    ["libpango-1.0.so.0", "libpango-1.0-0"],
    ["libcairo.so.2", "libcairo2"],
    ["libX11.so.6", "libx11-6"],
    ["libXcomposite.so.1", "libxcomposite1"],
    ["libXdamage.so.1", "libxdamage1"],
    ["libXext.so.6", "libxext6"],
    ["libXfixes.so.3", "libxfixes3"],
    ["libXrandr.so.2", "libxrandr2"],
    ["libgbm.so.1", "libgbm1"],
    ["libexpat.so.1", "libexpat1"],
    ["libxcb.so.1", "libxcb1"],
    ["libxkbcommon.so.0", "libxkbcommon0"],
    ["libudev.so.1", "libudev1"],
    ["libasound.so.2", "libasound2t64", "libasound2"],
  ].map(([library, ...names]) => ({ library, names, reason: "Electron is linked against it" })),
];

/** @type {Need[]} What the tests use beside the app. */
export const testPrograms = [
  { program: "Xvfb", names: ["xvfb"], reason: "the screen on which the end-to-end tests open the app" },
  { program: "xauth", names: ["xauth"], reason: "xvfb-run, which the README names, needs it" },
  { program: "socat", names: ["socat"], reason: "a serial client that is not ours, against a machine's serial socket" },
  { program: "vncsnapshot", names: ["vncsnapshot"], reason: "a VNC client that is not ours, against a machine's display" },
  { program: "djpeg", names: ["libjpeg-turbo-progs", "libjpeg-progs"], reason: "reads the pictures that vncsnapshot writes" },
  { program: "gvncviewer", names: ["gvncviewer"], reason: "a second VNC client, with other encodings" },
  { program: "qemu-img", names: ["qemu-utils"], reason: "converts disk images, and makes those the tests read" },
  { program: "xorriso", names: ["xorriso"], reason: "makes bootable CD images, and reads ours" },
  { program: "genisoimage", names: ["genisoimage"], reason: "makes CD images in another way" },
  { program: "isoinfo", names: ["genisoimage"], reason: "reads our CD images" },
  { program: "openssl", names: ["openssl"], reason: "hashes passwords as ours are hashed" },
  { program: "qemu-system-x86_64", names: ["qemu-system-x86"], reason: "the engine that the tests run real guests on" },
  {
    files: ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/x64/OVMF_CODE.4m.fd"],
    names: ["ovmf"],
    reason: "UEFI firmware for guests",
  },
  { program: "ip", names: ["iproute2"], reason: "makes the network namespaces that the tests' networks are in" },
  { program: "ping", names: ["iputils-ping"], reason: "asks guests, and answers for them" },
  { program: "traceroute", names: ["traceroute"], reason: "sees the hops of a gateway" },
  { program: "dnsmasq", names: ["dnsmasq-base"], reason: "a DHCP and name server that is not ours" },
  { program: "tshark", names: ["tshark"], reason: "reads our packets, and ours read what it does" },
  { program: "curl", names: ["curl"], reason: "a web client that is not ours, through port forwards" },
  { program: "ssh", names: ["openssh-client"], reason: "logs in to guests through port forwards" },
  { program: "dpkg-deb", names: ["dpkg"], reason: "makes packages that guests install" },
  ...[
    { program: "grub-mkrescue", names: ["grub-common"] },
    { program: "mformat", names: ["mtools"] },
    { files: ["/usr/lib/grub/i386-pc/moddep.lst"], names: ["grub-pc-bin"] },
    { files: ["/usr/lib/grub/x86_64-efi/moddep.lst"], names: ["grub-efi-amd64-bin"] },
  ].map((need) => ({ ...need, reason: "makes a CD image that a BIOS and UEFI boot" })),
];

/** @type {Record<string, Need[]>} What a bench compares with, by the bench's name. */
export const benchPrograms = {
  net: [
    { program: "iperf3", names: ["iperf3"], reason: "sends and receives the streams that are measured" },
    { program: "slirp4netns", names: ["slirp4netns"], reason: "a NAT that is not ours" },
    { program: "pasta", names: ["passt"], reason: "a second one, made otherwise" },
    { program: "vde_switch", names: ["vde2"], reason: "a switch that is not ours" },
  ],
};
