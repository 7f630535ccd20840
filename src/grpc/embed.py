# SPDX-License-Identifier: Apache-2.0
"""What .proto files describe, as bytes in C, for server reflection.

embed.py PROTOC SYMBOL OUTPUT ROOT FILE...   SYMBOL is a struct eg_grpc_descriptors: a FileDescriptorSet of
                                             the files (below ROOT) and of all that they import
"""
import os
import subprocess
import sys
import tempfile

protoc, symbol, output, root = sys.argv[1:5]
names = [os.path.relpath(os.path.realpath(f), os.path.realpath(root)) for f in sys.argv[5:]]
with tempfile.TemporaryDirectory() as where:
    out = os.path.join(where, "set")
    subprocess.run([protoc, "-I", root, "--include_imports", "--descriptor_set_out=" + out,
                    *names], check=True)
    with open(out, "rb") as f:
        data = f.read()
with open(output, "w", encoding="utf-8") as c:
    c.write('/* Generated from .proto files. */\n#include "grpc/reflection.h"\n\n')
    c.write("static const unsigned char bytes[] = {\n")
    for i in range(0, len(data), 16):
        c.write("\t" + " ".join("0x%02x," % b for b in data[i:i + 16]) + "\n")
    c.write("};\n\nconst struct eg_grpc_descriptors %s = {bytes, sizeof(bytes)};\n" % symbol)
