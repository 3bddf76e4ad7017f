#!/usr/bin/env python3
"""guise's qcow2 against QEMU's: images that qemu-img has made are read right, whatever features they
have; what guise has made and written, qemu-img finds whole and equal to a plain copy.

Arguments: the guise program, tests/block/exercise, functions to call. Random; GUISE_SEED repeats,
GUISE_SHORT and GUISE_LONG change how much. GUISE_KILLS is how often a writer is killed."""

import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
import harness
from harness import check, run, scratch, seed, text, tool

exercise = None
MIB = 1 << 20


def img(*args, codes=(0,)):
    """qemu-img, which must end with one of these codes."""
    code, out, err = run([str(word) for word in args], program=tool("qemu-img"))
    check(code in codes, "qemu-img %s ended with %d" % (" ".join(map(str, args)), code), out + err)
    return text(out)


def disk(*args, codes=(0,)):
    """guise disk."""
    code, out, err = run(["disk"] + [str(word) for word in args])
    check(code in codes, "guise disk %s ended with %d" % (" ".join(map(str, args)), code), out + err)
    return text(out if not code else out + err)


def work(*args):
    code, out, err = run([str(word) for word in args], program=exercise, seconds=120)
    check(code == 0, "exercise %s" % " ".join(map(str, args)), out + err)
    return text(out)


def amount(n):
    return n // 4 if os.environ.get("GUISE_SHORT") else n * 10 if os.environ.get("GUISE_LONG") else n


def write(path, data, at=0):
    with open(path, "r+b" if os.path.exists(path) else "w+b") as file:
        file.seek(at)
        file.write(data)


def contents(rng, size):
    """Bytes with zeroes, text and noise among them."""
    data = bytearray(size)
    for _ in range(20):
        at, length = rng.randrange(size), rng.randrange(1, 300000)
        kind = rng.choice(("noise", "text", "zero"))
        piece = rng.randbytes(length) if kind == "noise" else b"text " * length if kind == "text" \
            else bytes(length)
        piece = piece[:min(length, size - at)]
        data[at:at + len(piece)] = piece
    return bytes(data)


def same(image, raw, *options):
    """guise reads the image as the raw file's contents."""
    with scratch() as directory:
        disk("convert", *options, image, directory + "/out", "--to", "raw")
        with open(directory + "/out", "rb") as a, open(raw, "rb") as b:
            check(a.read() == b.read(), "%s does not read as %s" % (image, raw))


def whole(image, raw, code=0):
    """The image has no errors and is as the raw file."""
    img("check", "-f", "qcow2", image, codes=(0, code))
    disk("check", image, codes=(0, code))
    check("identical" in img("compare", "-f", "qcow2", "-F", "raw", image, raw), "different")


def test_made_by_guise():
    """Empty and full images of each kind."""
    kinds = ([], ["--image-version", 2], ["--cluster-size", 512], ["--cluster-size", "2M"],
             ["--refcount-bits", 1], ["--refcount-bits", 64], ["--lazy-refcounts"],
             ["--compression", "zstd"], ["--preallocation", "metadata"])
    rng = random.Random(seed())
    with scratch() as directory:
        raw = directory + "/raw"
        write(raw, contents(rng, 9 * MIB + 512))
        for i, options in enumerate(kinds):
            image = "%s/%d.qcow2" % (directory, i)
            disk("create", *options, image, "40M")
            img("check", image)
            disk("check", image)
            check("virtual size: 40 MiB" in img("info", image), "qemu-img sees another size")
            disk("convert", *options, raw, image + ".qcow2")
            whole(image + ".qcow2", raw)
            same(image + ".qcow2", raw)


def test_made_by_qemu():
    """Every feature is read right."""
    rng = random.Random(seed())
    kinds = ["compat=0.10", "compat=1.1", "cluster_size=512", "cluster_size=4096",
             "cluster_size=2M", "refcount_bits=1", "refcount_bits=8", "refcount_bits=64",
             "lazy_refcounts=on", "preallocation=metadata", "preallocation=full"]
    with scratch() as directory:
        raw = directory + "/raw"
        write(raw, contents(rng, 5 * MIB + 1024))
        for i, kind in enumerate(kinds):
            image = "%s/%d" % (directory, i)
            img("convert", "-f", "raw", "-O", "qcow2", "-o", kind, raw, image)
            same(image, raw)
            check("no errors" in disk("check", image), "guise finds errors")
        for i, kind in enumerate(("compression_type=zlib", "compression_type=zstd",
                                  "cluster_size=4096", "cluster_size=2M")):
            image = "%s/c%d" % (directory, i)
            img("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", kind, raw, image)
            same(image, raw)
            check(", 0 of them compressed" not in disk("check", image), "nothing is compressed")
            # Written over, they are plain clusters; the others stay.
            work("random", image, "qcow2", raw, rng.getrandbits(32), amount(200))
            whole(image, raw)


def test_chains():
    """What an overlay does not have comes from below; smaller and larger disks below, too."""
    rng = random.Random(seed())
    with scratch() as directory:
        os.mkdir(directory + "/sub")
        base, middle, top = directory + "/base", directory + "/sub/middle", directory + "/top"
        flat = directory + "/flat"
        for base_size, top_size in ((3 * MIB, 6 * MIB), (6 * MIB, 3 * MIB), (5 * MIB, 5 * MIB)):
            for path in (base, middle, top, flat):
                if os.path.exists(path):
                    os.unlink(path)
            write(base, contents(rng, base_size))
            img("create", "-f", "qcow2", "-F", "raw", "-b", "../base", middle)
            img("create", "-f", "qcow2", "-o", "cluster_size=8k", "-F", "qcow2", "-b", "sub/middle",
                top, top_size)
            img("convert", "-f", "qcow2", "-O", "raw", top, flat)
            same(top, flat)
            check("sub/../base" in disk("map", top), "the map does not name the backing file")
            work("random", top, "qcow2", flat, rng.getrandbits(32), amount(200))
            whole(top, flat)


def test_commit():
    rng = random.Random(seed())
    for base_format in ("raw", "qcow2"):
        for sizes in ((4 * MIB, 4 * MIB), (2 * MIB, 5 * MIB), (5 * MIB, 2 * MIB)):
            with scratch() as directory:
                base, top, flat = (directory + "/" + name for name in ("base", "top", "flat"))
                disk("create", "--format", base_format, base, sizes[0])
                work("random", base, base_format, directory + "/b", rng.getrandbits(32), 60)
                disk("create", "--format", "qcow2", "--backing", "base", "--backing-format",
                     base_format, top, sizes[1])
                img("convert", "-f", "qcow2", "-O", "raw", top, flat)
                work("random", top, "qcow2", flat, rng.getrandbits(32), 150)
                disk("commit", top)
                whole(top, flat)
                check(disk("check", top).splitlines()[1].startswith("0 of"), "it is not empty")
                check("disk             %d bytes" % max(sizes) in disk("info", base),
                      "the backing disk is not as large as the larger one")


def test_snapshots():
    """Internal snapshots can be read, and survive what is written afterwards."""
    rng = random.Random(seed())
    for options in ("compat=1.1", "compat=0.10", "cluster_size=4096,refcount_bits=8"):
        with scratch() as directory:
            image, now = directory + "/image", directory + "/now"
            img("create", "-f", "qcow2", "-o", options, image, "6M")
            for i in range(3):
                work("random", image, "qcow2", now, rng.getrandbits(32), amount(80))
                img("snapshot", "-c", "state%d" % i, image)
                write("%s/%d" % (directory, i), open(now, "rb").read())
            work("random", image, "qcow2", now, rng.getrandbits(32), amount(200))
            whole(image, now)
            check("'state1'" in disk("info", image), "info does not name the snapshot")
            for i in range(3):
                same(image, "%s/%d" % (directory, i), "--snapshot", "state%d" % i)
            same(image, directory + "/1", "--snapshot", "2")
            if options != "compat=0.10":
                disk("resize", image, "+100M")
                os.truncate(now, 106 * MIB)
                whole(image, now)
                same(image, directory + "/2", "--snapshot", "state2")
            disk("resize", "--shrink", image, "1M", codes=(2,))
            # QEMU goes back to one, and finds it as it was.
            img("snapshot", "-a", "state0", image)
            whole(image, directory + "/0")
            disk("convert", "--snapshot", "none", image, directory + "/x", codes=(2,))


def test_random():
    """Random requests leave an image that is whole and equal to a plain copy."""
    rng = random.Random(seed())
    kinds = ([], ["--image-version", 2], ["--cluster-size", 512], ["--cluster-size", "4K"],
             ["--cluster-size", "1M"], ["--refcount-bits", 1, "--cluster-size", "4K"],
             ["--refcount-bits", 4], ["--refcount-bits", 32], ["--refcount-bits", 64],
             ["--preallocation", "metadata"], ["--lazy-refcounts"])
    for options in kinds:
        for backing in ([], ["--backing", "base", "--backing-format", "raw"]):
            with scratch() as directory:
                image, shadow = directory + "/image", directory + "/shadow"
                size = 512 * rng.randrange(4000, 16000)
                write(directory + "/base", contents(rng, 3 * MIB))
                disk("create", "--format", "qcow2", *options, *backing, image, size)
                img("convert", "-f", "qcow2", "-O", "raw", image, shadow)
                work("random", image, "qcow2", shadow, rng.getrandbits(32), amount(200))
                whole(image, shadow)


def test_queue():
    """Many requests in flight, on disks that have a ring and on those that have none."""
    rng = random.Random(seed())
    for image_format in ("raw", "qcow2"):
        for ring in (1, 0):
            with scratch() as directory:
                image, shadow = directory + "/image", directory + "/shadow"
                disk("create", "--format", image_format, image, 8 * MIB)
                for _ in range(2):
                    work("queue", image, image_format, shadow, rng.getrandbits(32), amount(8000),
                         ring)
                    if image_format == "qcow2":
                        whole(image, shadow)
                    else:
                        check(open(image, "rb").read() == open(shadow, "rb").read(), "different")


def test_resize():
    rng = random.Random(seed())
    with scratch() as directory:
        for backing in ([], ["--backing", "base", "--backing-format", "raw"]):
            image, flat = directory + "/image", directory + "/flat"
            write(directory + "/base", rng.randbytes(5 * MIB))
            for path in (image, flat):
                if os.path.exists(path):
                    os.unlink(path)
            disk("create", "--format", "qcow2", "--cluster-size", 4096, *backing, image, "4M")
            img("convert", "-f", "qcow2", "-O", "raw", image, flat)
            for size in (6 * MIB, 5 * MIB + 512, 3 * MIB + 1536, 40 * MIB, 300 * MIB, MIB, 7 * MIB):
                work("random", image, "qcow2", flat, rng.getrandbits(32), 40)
                disk("resize", "--shrink", image, size)
                os.truncate(flat, size)
                whole(image, flat)
        check("--shrink" in disk("resize", image, "1M", codes=(2,)), "no word of --shrink")
        disk("create", directory + "/raw", "1M")
        disk("resize", directory + "/raw", "+1M")
        check(os.stat(directory + "/raw").st_size == 2 * MIB, "a raw disk has the wrong size")


def test_locks():
    """guise and QEMU keep each other out."""
    with scratch() as directory:
        image = directory + "/image.qcow2"
        disk("create", image, "16M")
        with subprocess.Popen([exercise, "kill", image, "qcow2", directory + "/state", "1"],
                              stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            img("info", image, codes=(1,))
            img("resize", image, "+1M", codes=(1,))
            check("another program" in disk("info", image, codes=(2,)), "guise reads it")
            check("another program" in disk("resize", image, "+1M", codes=(2,)), "guise writes it")
            writer.kill()
        disk("info", image)
        img("check", image, codes=(0, 3))


def test_kill():
    """A writer is killed at any moment: at worst clusters leak, and what was flushed is there."""
    rng = random.Random(seed())
    kills = int(os.environ.get("GUISE_KILLS", "0") or "0") or amount(16)
    leaks = 0
    lines = ""
    for part in range(4):
        with scratch() as directory:
            image, state = directory + "/image", directory + "/state"
            options = (["--cluster-size", "4K"], [], ["--cluster-size", "512", "--refcount-bits", 64],
                       ["--image-version", 2])[part]
            disk("create", "--format", "qcow2", *options, image, "24M")
            if part == 1:
                # Tables and data that belong to a snapshot, too, are copied when they are written.
                work("random", image, "qcow2", directory + "/shadow", 1, 100)
                img("snapshot", "-c", "state", image)
                disk("convert", image, directory + "/snapshot", "--to", "raw")
                work("wipe", image, "qcow2")
            for _ in range(kills // 4):
                with subprocess.Popen([exercise, "kill", image, "qcow2", state,
                                       str(rng.getrandbits(32))], stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE) as writer:
                    writer.stdout.readline()
                    time.sleep(rng.uniform(0, 0.3) ** 2 * 4)
                    ended = writer.poll() is not None
                    writer.kill()
                    check(not ended, "the writer ended by itself", writer.stderr.read())
                # The kernel's ring lets go of the image a little later; guise waits for that.
                disk("info", image)
                code, out, err = run(["check", "-f", "qcow2", image], program=tool("qemu-img"))
                check(code in (0, 3), "qemu-img check ended with %d" % code, out + err)
                leaks += code == 3
                lines = work("verify", image, "qcow2", state)
            disk("check", "--repair", image)
            img("check", "-f", "qcow2", image)
            work("verify", image, "qcow2", state)
            if part == 1:
                same(image, directory + "/snapshot", "--snapshot", "state")
    print("%d kills, %d left leaks; the last one: %s" % (kills, leaks, lines.strip()))


def test_overlap():
    """A write that would hit metadata marks the image as damaged and changes nothing else."""
    with scratch() as directory:
        image, raw = directory + "/image", directory + "/raw"
        write(raw, os.urandom(MIB))
        for place in ("header", "l1", "reftable", "refblock", "l2"):
            for version in (3, 2):
                if os.path.exists(image):
                    os.unlink(image)
                disk("convert", "--to", "qcow2", "--image-version", version, raw, image)
                data = bytearray(open(image, "rb").read())
                l1 = int.from_bytes(data[40:48], "big")
                reftable = int.from_bytes(data[48:56], "big")
                l2 = int.from_bytes(data[l1:l1 + 8], "big") & (1 << 56) - 1
                refblock = int.from_bytes(data[reftable:reftable + 8], "big")
                target = {"header": 0, "l1": l1, "reftable": reftable, "refblock": refblock,
                          "l2": l2}[place]
                for entry in range(16):
                    data[l2 + 8 * entry:l2 + 8 * entry + 8] = (target | 1 << 63).to_bytes(8, "big")
                write(image, bytes(data))
                if os.path.exists(directory + "/shadow"):
                    os.unlink(directory + "/shadow")
                disk("convert", image, directory + "/shadow", "--to", "raw", codes=(0, 2))
                code, _, err = run(["random", image, "qcow2", directory + "/shadow", "2", "1000"],
                                   program=exercise)
                check(code == 1 and b"Input/output error" in err, "%s was written" % place, err)
                now = bytearray(open(image, "rb").read())
                if version == 3:
                    check(now[79] == 2, "the image is not marked")
                    now[79] = 0
                    check("marked" in disk("resize", image, "+1M", codes=(2,)), "it is still written")
                    check("corrupt: true" in img("info", image), "qemu-img sees no mark")
                check(now[:len(data)] == data, "%s has changed" % place)


def test_space():
    """What is zeroed goes back to the host, and its clusters are used again."""
    with scratch() as directory:
        image, raw = directory + "/image", directory + "/raw"
        write(raw, os.urandom(8 * MIB))
        disk("convert", "--to", "qcow2", raw, image)
        full = os.stat(image)
        work("wipe", image, "qcow2")
        check(os.stat(image).st_blocks * 512 < full.st_blocks * 512 - 7 * MIB,
              "the host has not got its space back")
        work("random", image, "qcow2", directory + "/shadow", 7, 300)
        check(os.stat(image).st_size <= full.st_size + MIB, "free clusters are not used again")
        whole(image, directory + "/shadow")


def test_progress():
    """Long work shows how far it is, on a terminal only, and takes the line away."""
    with scratch() as directory:
        raw, image = directory + "/raw", directory + "/image.qcow2"
        write(raw, os.urandom(5 * MIB))
        with harness.Machine(["disk", "convert", raw, image]) as m:
            m.end(0)
            check(b"convert [" in m.log and b"100%" in m.log, "no progress is shown", m.log)
            check(m.log.endswith(b"\r\x1b[K"), "the line stays", m.log)
        with harness.Machine(["disk", "check", image]) as m:
            m.end(0)
            check(b"check [" in m.log, "no progress is shown", m.log)
        _, out, err = run(["disk", "convert", raw, image + "2"])
        check(not out and not err, "there is output without a terminal", out + err)


def test_dirty():
    """Lazy refcounts that were left are repaired before anything is written."""
    rng = random.Random(seed())
    with scratch() as directory:
        image, flat = directory + "/image", directory + "/flat"
        disk("create", "--format", "qcow2", "--lazy-refcounts", image, "8M")
        work("random", image, "qcow2", flat, rng.getrandbits(32), 150)
        with open(image, "r+b") as file:
            # All refcounts of data are lost: the first block keeps none, as if never written.
            data = bytearray(file.read())
            block = int.from_bytes(data[int.from_bytes(data[48:56], "big"):][:8], "big")
            file.seek(block)
            file.write(bytes(65536))
            file.seek(79)
            file.write(bytes([data[79] | 1]))
        same(image, flat)
        check("wait for a repair" in disk("info", image), "info does not say that it is dirty")
        work("random", image, "qcow2", flat, rng.getrandbits(32), 150)
        whole(image, flat)
        check("wait for a repair" not in disk("info", image), "it is still dirty")


def test_refused():
    """What guise does not support, and what is unsafe, has a sentence and changes nothing."""
    with scratch() as directory:
        image = directory + "/image"

        def refused(sentence, readonly=True):
            before = open(image, "rb").read()
            words = disk("map" if readonly else "resize", image, *([] if readonly else ["+1M"]),
                         codes=(2,))
            check(sentence in words, "no '%s' in: %s" % (sentence, words))
            check(open(image, "rb").read() == before, "the image has changed")

        img("create", "-f", "qcow2", "-o", "extended_l2=on", image, "1M")
        refused("extended L2 entries")
        img("create", "-f", "qcow2", "-o", "data_file=%s/data" % directory, image, "1M")
        refused("external data file")
        img("create", "-f", "qcow2", "--object", "secret,id=s,data=x", "-o",
            "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", image, "1M")
        refused("is encrypted")
        img("create", "-f", "qcow2", image, "1M")
        write(image, b"\1", 72)
        refused("features 0x100000000000000")
        img("create", "-f", "qcow2", image, "1M")
        write(image, b"\2", 79)
        refused("marked as damaged", readonly=False)
        same_size = directory + "/raw"
        write(same_size, bytes(MIB))
        same(image, same_size)
        # A backing file whose format nobody states could be anything.
        img("create", "-f", "qcow2", "-F", "raw", "-b", "raw", image)
        with open(image, "r+b") as file:
            data = file.read(4096)
            at = data.index(bytes.fromhex("e2792aca"))
            file.seek(at)
            file.write(bytes.fromhex("12345678"))
        refused("does not say which format")
        img("create", "-f", "qcow2", "-u", "-F", "raw", "-b", "nbd://host/x", image, "1M")
        refused("not a file's name")
        img("create", "-f", "qcow2", "-u", "-F", "qcow2", "-b", "image", image, "1M")
        refused("a circle")
        img("create", "-f", "qcow2", "-u", "-F", "vmdk", "-b", "raw", image, "1M")
        refused("no disk format 'vmdk'")


def mutate(rng, data):
    """A few bytes of metadata are wrong: single ones, numbers, or a piece from elsewhere."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(112)
        value = rng.choice((b"\0" * 8, b"\xff" * 8, rng.randbytes(1), rng.randbytes(8),
                            (1 << rng.randrange(64)).to_bytes(8, "big"),
                            rng.randrange(len(data)).to_bytes(8, "big"),
                            (rng.randrange(len(data)) & ~511).to_bytes(8, "big")))
        data[at:at + len(value)] = value
    return data[:rng.randrange(len(data))] if rng.random() < 0.1 else data


def test_hostile():
    """Images with wrong metadata: an answer or a sentence, and never more than that."""
    rng = random.Random(seed())
    answers = {}
    with scratch() as directory:
        raw, image, out = (directory + "/" + name for name in ("raw", "image", "out"))
        write(raw, contents(rng, 65536))
        seeds = []
        for options in ("cluster_size=512", "cluster_size=4096,compat=0.10", "cluster_size=512",
                        "cluster_size=1024,compression_type=zstd"):
            img("convert", *([] if len(seeds) < 2 else ["-c"]), "-f", "raw", "-O", "qcow2", "-o",
                options, raw, image)
            if len(seeds) == 1:
                img("snapshot", "-c", "first", image)
            seeds.append(open(image, "rb").read())
        for _ in range(amount(60)):
            mutant = mutate(rng, rng.choice(seeds))
            for words in (["info"], ["map"], ["check"], ["check", "--repair"],
                          ["convert", "--to", "raw"], ["resize", "+64K"]):
                with open(image, "wb") as file:
                    file.write(mutant)
                if os.path.exists(out):
                    os.unlink(out)
                end = [out] if words[0] == "convert" else words[1:] if words[0] == "resize" else []
                begin = words if words[0] != "resize" else ["resize"]
                code, _, err = run(["disk", *begin, "--format", "qcow2", image, *end])
                answers[code] = answers.get(code, 0) + 1
                kept = directory + "/../guise-test-hostile.qcow2"
                if code not in (0, 1, 2, 3) or (code == 2 and not err.startswith(b"guise: ")):
                    write(kept, bytes(mutant))
                check(code in (0, 1, 2, 3), "%s ended with %d; the image is %s"
                      % (words, code, kept), err)
                check(code != 2 or err.startswith(b"guise: "), "no sentence; %s" % kept, err)
    print("exit codes: %s" % sorted(answers.items()))


def main():
    global exercise
    exercise = sys.argv.pop(2)
    harness.main(globals())


if __name__ == "__main__":
    main()
