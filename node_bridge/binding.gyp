# The addon: the core's sources, unchanged, and src/. In the repository they are compiled where they are; the packed
# npm package carries them in core/ (scripts/pack.js).
{
  "variables": {
    "abi%": "<!(node -p process.versions.modules)",
    "core": "<!(node -p \"require('fs').existsSync('core/memwatch.h') ? 'core' : '../memwatch_core/core'\")",
  },
  "target_defaults": {"default_configuration": "Release"},
  "targets": [
    {
      "target_name": "memwatch",
      "sources": [
        "<!@(node -p \"require('fs').readdirSync('<(core)', { recursive: true }).filter(f => f.endsWith('.c')).map(f => '<(core)/' + f).join(' ')\")",
        "src/addon.c",
        "src/blocks.c",
        "src/breaks.cc",
        "src/codes.cc",
        "src/conditions.c",
        "src/contexts.cc",
        "src/copies.c",
        "src/dispatch.cc",
        "src/files.c",
        "src/flows.c",
        "src/frames.cc",
        "src/hits.c",
        "src/inlining.cc",
        "src/isolate.cc",
        "src/mailbox.cc",
        "src/origins.cc",
        "src/places.cc",
        "src/requests.cc",
        "src/sourcemap.cc",
        "src/sql.c",
        "src/stopping.cc",
        "src/symbols.c",
        "src/text.cc",
        "src/told.cc",
        "src/variables.c",
      ],
      "include_dirs": ["<(core)"],
      "defines": ["_GNU_SOURCE", "MW_NODE_ABI=<(abi)"],
      "cflags!": ["-fno-omit-frame-pointer", "-O3"],
      "cflags": ["-O2", "-g", "-fvisibility=hidden", "-fno-strict-aliasing", "-Wall", "-Wextra"],
      # In the project's own builds: a user's compiler may know more warnings.
      "conditions": [["'<!(echo $C_WARNINGS)' == 'error'", {"cflags": ["-Werror"]}]],
      "cflags_c": ["-std=gnu11"],
      "cflags_cc": ["-Wno-cast-function-type", "-Wno-unused-parameter", "-Wno-attributes"],
      # No symbol is looked up while a signal is handled; the core stays when the worker that loaded it ends; a prebuilt
      # addon finds the decoder beside itself.
      "ldflags": ["-Wl,-z,now", "-Wl,-z,nodelete", "-Wl,--disable-new-dtags,-rpath,'$$ORIGIN'"],
      "libraries": ["-lZydis"],
    }
  ],
}
