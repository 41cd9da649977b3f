import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cloudGuestFiles, cloudInitFiles } from "../../build/launcher/debianGuests.mjs";
import { writeCpio } from "../../build/starter/cpio.mjs";
import { busyboxApplets } from "../../build/starter/rootfs.mjs";
import { cloudGuestModules, readyWords, type KernelFiles } from "./guestPackages";

type Tree = Parameters<typeof writeCpio>[0];

/** What no program reads, and would only make the ramdisk larger. */
const unread = /^\/usr\/share\/(bash-completion|doc|gcc|info|lintian|locale|man|vim)$|\/gconv$|\/python3\.11\/(test|unittest)$/;

/** Where Debian's packages put programs. */
const programFolders = ["/bin", "/sbin", "/usr/bin", "/usr/sbin"];

/** The stages of cloud-init as its units start them (cloud-init.service(5) and its neighbours), each after the one before. */
const stages = ["init --local", "init", "modules --mode=config", "modules --mode=final"];

/** The adapter has its address before cloud-init begins, which is told to leave the network alone. */
const init = `#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
while read module; do insmod "$module"; done < /modules
exec < /dev/ttyS0 > /dev/ttyS0 2>&1
stty -echo
ip link set lo up
ip link set eth0 up
udhcpc -q -i eth0 -s /etc/udhcpc.script
${stages.map((stage) => `cloud-init ${stage}`).join("\n")}
echo "${readyWords}"
while read -r line; do eval "$line"; done
`;

const onLease = `#!/bin/sh
case "$1" in
  bound|renew)
    ip address replace "$ip/$mask" dev "$interface"
    for gateway in $router; do ip route replace default via "$gateway"; done
    for server in $dns; do echo "nameserver $server"; done > /etc/resolv.conf ;;
esac
`;

/** Of cloud-init's many modules those whose work is looked at. */
const imageSettings = `datasource_list: [NoCloud]
network: {config: disabled}
cloud_init_modules: [set_hostname, users-groups]
cloud_config_modules: []
cloud_final_modules: [package-update-upgrade-install, final-message]
`;

/**
 * Debian's cloud kernel with the real cloud-init, apt and dpkg of Debian's packages in its initial ramdisk, written to
 * `folder`: a cloud image as far as a seed is concerned. When cloud-init is through, it takes commands from the serial port.
 * @param mirror the address of a folder of packages, the only one that the guest's apt knows
 */
export async function makeCloudInitGuest(folder: string, mirror: string): Promise<KernelFiles> {
  const files = cloudGuestFiles();
  const root = cloudInitFiles();
  const tree: Tree = new Map();
  const file = (path: string, content: Buffer | string, mode = 0o644): void => void tree.set(path, { type: "file", content: Buffer.from(content), mode });
  addFolder(tree, root, "");
  const drivers = cloudGuestModules(files.modules);
  for (const { name, content } of drivers) file(`/lib/modules/${name}.ko`, content);
  file("/modules", drivers.map(({ name }) => `/lib/modules/${name}.ko\n`).join(""));

  const busybox = readFileSync(files.busybox);
  file("/bin/busybox", busybox, 0o755);
  for (const applet of busyboxApplets(busybox)) {
    if (!programFolders.some((path) => tree.has(`${path}/${applet}`))) tree.set(`/bin/${applet}`, { type: "link", target: "busybox" });
  }
  tree.set("/usr/bin/python3", { type: "link", target: "python3.11" });

  // What the packages' own scripts would have made.
  for (const path of ["/dev", "/proc", "/sys", "/run", "/tmp", "/root", "/home", "/var/lib/dpkg/info", "/var/lib/dpkg/updates", "/var/lib/apt/lists/partial", "/var/cache/apt/archives/partial", "/var/log/apt"]) {
    tree.set(path, { type: "directory", mode: 0o755 });
  }
  tree.set("/dev/console", { type: "character", mode: 0o600, major: 5, minor: 1 });
  file("/var/lib/dpkg/status", "");
  file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
  file("/etc/group", "root:x:0:\n");
  file("/etc/shadow", "root:*:19000::::::\n", 0o600);
  file("/etc/gshadow", "root:*::\n", 0o600);

  // The mirror has nobody's signature.
  file("/etc/apt/sources.list", `deb [trusted=yes] ${mirror} ./\n`);
  file("/etc/cloud/cloud.cfg.d/99-image.cfg", imageSettings);
  file("/etc/udhcpc.script", onLease, 0o755);
  file("/init", init, 0o755);
  const initrd = join(folder, "cloud-init.cpio");
  await writeFile(initrd, writeCpio(tree));
  return { kernel: files.kernel, initrd, cmdline: "console=ttyS0 quiet" };
}

function addFolder(tree: Tree, root: string, path: string): void {
  for (const name of readdirSync(root + path)) {
    const inside = `${path}/${name}`;
    if (unread.test(inside)) continue;
    const found = lstatSync(root + inside);
    if (found.isSymbolicLink()) tree.set(inside, { type: "link", target: readlinkSync(root + inside) });
    else if (found.isDirectory()) addFolder(tree, root, inside);
    else if (found.isFile()) tree.set(inside, { type: "file", mode: found.mode & 0o7777, content: readFileSync(root + inside) });
  }
}
