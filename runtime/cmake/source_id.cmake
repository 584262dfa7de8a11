# Writes a hash of the library's own sources below ROOT to OUT, as a string literal: what two programs that link the library in compare to know
# whether they speak the same forms. Unchanged sources leave OUT as it is.
set(all "")
foreach(folder dsl frontend codegen runtime)
  file(GLOB_RECURSE files RELATIVE ${ROOT} ${ROOT}/${folder}/*.cpp ${ROOT}/${folder}/*.h ${ROOT}/${folder}/*.def)
  list(FILTER files EXCLUDE REGEX "^runtime/cli/")
  list(SORT files)
  foreach(f IN LISTS files)
    file(SHA256 ${ROOT}/${f} sum)
    string(APPEND all "${f} ${sum}\n")
  endforeach()
endforeach()
string(SHA256 id "${all}")
file(CONFIGURE OUTPUT ${OUT} CONTENT "\"${id}\"\n")
