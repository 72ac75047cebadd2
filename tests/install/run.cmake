# Installs a build into an empty prefix, then configures, builds and runs the consumer beside this file with it.
#
# Given with -D: build_dir, config, generator, compiler, prefix_path, lto (of the build that is installed), python.
cmake_minimum_required(VERSION 3.25)

set(work_dir ${build_dir}/install_test)
file(REMOVE_RECURSE ${work_dir})

function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

run(${CMAKE_COMMAND} --install ${build_dir} --config ${config} --prefix ${work_dir}/prefix)
run(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR} -B ${work_dir}/build -G ${generator}
  -D CMAKE_CXX_COMPILER=${compiler}
  -D CMAKE_BUILD_TYPE=${config}
  -D CMAKE_INTERPROCEDURAL_OPTIMIZATION=${lto}
  -D "CMAKE_PREFIX_PATH=${work_dir}/prefix;${prefix_path}"
  -D CMAKE_RUNTIME_OUTPUT_DIRECTORY=${work_dir}/bin
  -D README=${CMAKE_CURRENT_LIST_DIR}/../../README.md)
run(${CMAKE_COMMAND} --build ${work_dir}/build --config ${config})
set(bin ${work_dir}/bin)
if(EXISTS ${bin}/${config})  # generators with several configurations
  set(bin ${bin}/${config})
endif()
run(${bin}/consumer)
if(EXISTS ${work_dir}/prefix/include/roving/sim.hpp)
  run(${bin}/simulated)
endif()
run(${python} ${CMAKE_CURRENT_LIST_DIR}/readme_test.py ${bin}/readme)
