// Which symbols the shared library offers: everything in this folder, nothing else.
#pragma once

#define TESSERA_API __attribute__((visibility("default")))
